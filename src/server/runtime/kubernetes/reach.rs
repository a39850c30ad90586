//! How a cluster sees this machine.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::ListParams;
use tokio::net::UdpSocket;

use super::cluster::Cluster;

/// The address from which this machine reaches the API server; on a machine that is a node itself, the node's.
pub(super) async fn own_address(cluster: &Cluster) -> Option<IpAddr> {
    let (host, port) = &cluster.api;
    let mut found = tokio::net::lookup_host((host.as_str(), *port)).await.ok()?;
    let api = found.next()?;
    if api.ip().is_loopback() {
        return own_node(cluster).await;
    }
    let any: IpAddr = if api.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let socket = UdpSocket::bind((any, 0)).await.ok()?;
    // Nothing is sent: the way to it is chosen.
    socket.connect(api).await.ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// The address of a node that this machine can call its own.
async fn own_node(cluster: &Cluster) -> Option<IpAddr> {
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let nodes = nodes.list(&ListParams::default()).await.ok()?;
    let addresses = nodes.items.into_iter().filter_map(|node| node.status?.addresses).flatten();
    let internal = addresses.filter(|address| address.type_ == "InternalIP").filter_map(|it| it.address.parse().ok());
    for ip in internal.collect::<Vec<IpAddr>>() {
        if UdpSocket::bind((ip, 0)).await.is_ok() {
            return Some(ip);
        }
    }
    None
}
