//! Where the listening sockets come from: the server before this one ([`succession`](super::succession)), or systemd's, by
//! name, when the server was started by a socket unit (sd_listen_fds(3)), else bound here. A socket that somebody else
//! holds too outlives the server: while it restarts, visitors wait in the socket's queue instead of being refused.

use std::net::SocketAddr;

use anyhow::Context;
use listenfd::ListenFd;
use tokio::net::TcpListener;

/// The sockets of this server.
#[derive(Default)]
pub(super) struct Sockets {
    /// Handed over, and not yet asked for.
    handed: Vec<(String, std::net::TcpListener)>,
    /// In use, for the server after this one.
    held: Vec<(String, std::net::TcpListener)>,
}

impl Sockets {
    /// Looks at what systemd handed over, by the unit's `FileDescriptorName=`; often nothing.
    #[allow(clippy::disallowed_methods, reason = "LISTEN_FDNAMES is systemd's protocol, not configuration")]
    pub(super) fn from_env() -> Self {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut found = ListenFd::from_env();
        let named = names.split(':').enumerate();
        let handed = named.filter_map(|(index, name)| Some((name.to_owned(), found.take_tcp_listener(index).ok()??)));
        Self { handed: handed.collect(), held: Vec::new() }
    }

    /// Those of the server before.
    pub(super) fn handed(sockets: Vec<(String, std::net::TcpListener)>) -> Self {
        Self { handed: sockets, held: Vec::new() }
    }

    /// The socket called `name`, or a new one on `address`, for the runtime that this is called in.
    pub(super) fn listen(&mut self, name: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
        let index = self.handed.iter().position(|(handed, _)| handed == name);
        let listener = match index.map(|index| self.handed.swap_remove(index)) {
            Some((_, listener)) => listener,
            None => std::net::TcpListener::bind(address)
                .with_context(|| format!("cannot listen on {address} for {name}: is another program using it?"))?,
        };
        listener.set_nonblocking(true)?;
        self.held.push((name.to_owned(), listener.try_clone()?));
        Ok(TcpListener::from_std(listener)?)
    }

    /// What the server after this one is handed.
    pub(super) fn into_held(self) -> Vec<(String, std::net::TcpListener)> {
        self.held
    }
}
