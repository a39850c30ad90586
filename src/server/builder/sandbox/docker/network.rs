//! The network of a server's builds: they reach what the machine reaches, but neither apps, which are in other networks,
//! nor each other.

use ipnet::Ipv4Net;
use tokio::sync::OnceCell;

use super::container::SERVER;
use crate::server::docker::{Daemon, DockerError, NewNetwork};

/// Addresses of builds at a time: 64.
const PREFIX: u8 = 26;

pub(super) struct Network {
    daemon: Daemon,
    network: NewNetwork,
    subnets: Ipv4Net,
    made: OnceCell<()>,
}

impl Network {
    pub(super) fn new(daemon: Daemon, server: &str, subnets: Ipv4Net) -> Self {
        let labels = [(SERVER.to_owned(), server.to_owned())].into();
        let network = NewNetwork { name: format!("gigalixir-{server}-builds"), labels, between: false };
        Self { daemon, network, subnets, made: OnceCell::new() }
    }

    /// Its name; it is made when it is first needed.
    pub(super) async fn name(&self) -> Result<&str, DockerError> {
        let make = || async { self.daemon.network(&self.network, self.subnets, PREFIX).await.map(drop) };
        self.made.get_or_try_init(make).await?;
        Ok(&self.network.name)
    }
}
