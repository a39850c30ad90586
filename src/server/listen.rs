//! Where the listening sockets come from: systemd's, by name, when the server was started by a socket unit
//! (sd_listen_fds(3)), else bound here. A socket that systemd holds outlives the server: while it restarts, visitors
//! wait in the socket's queue instead of being refused.

use std::net::SocketAddr;

use anyhow::Context;
use listenfd::ListenFd;
use tokio::net::TcpListener;

/// The sockets that were handed over, by the unit's `FileDescriptorName=`.
pub(super) struct Sockets {
    handed: ListenFd,
    names: Vec<String>,
}

impl Sockets {
    /// Looks at what systemd handed over; often nothing.
    #[allow(clippy::disallowed_methods, reason = "LISTEN_FDNAMES is systemd's protocol, not configuration")]
    pub(super) fn from_env() -> Self {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        Self { handed: ListenFd::from_env(), names: names.split(':').map(str::to_owned).collect() }
    }

    /// The socket called `name`, or a new one on `address`.
    pub(super) fn listen(&mut self, name: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
        let index = self.names.iter().position(|n| n == name);
        let handed = index.and_then(|index| self.handed.take_tcp_listener(index).ok().flatten());
        let listener = match handed {
            Some(listener) => listener,
            None => std::net::TcpListener::bind(address)
                .with_context(|| format!("cannot listen on {address} for {name}: is another program using it?"))?,
        };
        listener.set_nonblocking(true)?;
        Ok(TcpListener::from_std(listener)?)
    }
}
