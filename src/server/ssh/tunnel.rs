//! Local forwarding: a channel that is a connection to a port of the replica itself, and to nothing else.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::BytesMut;
use russh::ChannelOpenFailure;
use russh::server::ChannelOpenHandle;
use tokio::io::AsyncReadExt;
use tokio::sync::oneshot;

use super::inbox::Outlet;
use super::program::feed;
use super::visit::Visit;
use super::voice::Voice;

const CHUNK: usize = 32 << 10;

/// The port, if it is one of the replica's own.
pub(super) fn port(visit: &Visit, host: &str, port: u32) -> Option<u16> {
    let own = visit.entrance.instance.address.map(|address| address.ip());
    let near = |address: IpAddr| address == IpAddr::from([127, 0, 0, 1]) || address.is_ipv6() && address.is_loopback();
    let meant = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let here = host == "localhost" || meant.is_ok_and(|address| near(address) || Some(address) == own);
    u16::try_from(port).ok().filter(|port| here && *port > 0)
}

/// Connects, answers the client, and carries both ways until both are done.
pub(super) async fn run(
    visit: Arc<Visit>,
    port: u16,
    reply: ChannelOpenHandle,
    voice: Voice,
    mut input: Outlet,
    closed: oneshot::Receiver<&'static str>,
) {
    let connected = tokio::select! {
        connected = visit.connect(port) => connected,
        () = visit.gone.cancelled() => return,
    };
    let stream = match connected {
        Ok(stream) => stream,
        Err(text) => {
            tracing::debug!(port, cause = text, "a forwarded connection found nobody");
            return reply.reject(ChannelOpenFailure::ConnectFailed).await;
        }
    };
    reply.accept().await;
    let (mut from, mut to) = tokio::io::split(stream);
    let inwards = feed(&mut input, &mut to);
    let outwards = async {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(CHUNK);
            match from.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(_) if voice.say(buffer.split().freeze()).await.is_err() => break,
                Ok(_) => visit.stir(),
            }
        }
        let _ = voice.fall_silent().await;
    };
    tokio::select! {
        _ = async { tokio::join!(inwards, outwards) } => {}
        _ = closed => {}
        () = visit.gone.cancelled() => {}
    }
    voice.close().await;
}
