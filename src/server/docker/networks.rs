//! Networks of our own, in subnets of our own choice: Docker's pool holds about thirty.

use std::collections::HashMap;

use bollard::errors::Error;
use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest};
use ipnet::Ipv4Net;

use super::{Daemon, DockerError, refused};

/// Whether containers on the bridge reach each other.
const BETWEEN: &str = "com.docker.network.bridge.enable_icc";

/// A network to be made.
#[derive(Debug, Clone)]
pub struct NewNetwork {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub labels: HashMap<String, String>,
    /// Whether its containers reach each other.
    pub between: bool,
}

impl Daemon {
    /// Makes a network. False: somebody else's overlaps with that subnet.
    pub async fn make_network(&self, new: &NewNetwork, subnet: Ipv4Net) -> Result<bool, DockerError> {
        let config = IpamConfig { subnet: Some(subnet.to_string()), ..Default::default() };
        let request = NetworkCreateRequest {
            name: new.name.clone(),
            driver: Some("bridge".to_owned()),
            ipam: Some(Ipam { config: Some(vec![config]), ..Default::default() }),
            options: (!new.between).then(|| HashMap::from([(BETWEEN.to_owned(), "false".to_owned())])),
            labels: Some(new.labels.clone()),
            ..Default::default()
        };
        match self.docker.create_network(request).await {
            Ok(_) => Ok(true),
            Err(Error::DockerResponseServerError { message, .. }) if message.contains("overlap") => Ok(false),
            Err(error) => Err(refused(format!("making the network {}", new.name))(error)),
        }
    }

    /// The subnet of the network of that name, which is made if it is not there, as near to the end of `pool` as there is
    /// room: apps' networks come from its beginning.
    pub async fn network(&self, new: &NewNetwork, pool: Ipv4Net, prefix: u8) -> Result<Ipv4Net, DockerError> {
        match self.docker.inspect_network(&new.name, None).await {
            Ok(found) => {
                let subnet = found.ipam.and_then(|ipam| ipam.config?.first()?.subnet.as_ref()?.parse().ok());
                let odd =
                    || DockerError::Unavailable(format!("the network {} has no IPv4 subnet: remove it", new.name));
                return subnet.ok_or_else(odd);
            }
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => {}
            Err(error) => return Err(refused(format!("looking for the network {}", new.name))(error)),
        }
        let subnets: Vec<Ipv4Net> = pool.subnets(prefix).map(Iterator::collect).unwrap_or_default();
        for subnet in subnets.into_iter().rev() {
            if self.make_network(new, subnet).await? {
                return Ok(subnet);
            }
        }
        Err(DockerError::Unavailable(format!(
            "`docker.subnets` in server.toml has no room for the network {}",
            new.name
        )))
    }
}
