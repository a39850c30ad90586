//! What the DNS says of a host, compared with where this platform is. It helps people and saves a CA's patience; it
//! decides nothing, since a LAN, a proxy or a name server of one's own may know better.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;

use crate::server::config::TlsConfig;

/// For all questions about one host.
const PATIENCE: Duration = Duration::from_secs(4);

/// What the DNS says of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// It leads here.
    Here,
    /// It has no address.
    Nowhere,
    /// It leads to these addresses, none of which is ours.
    Elsewhere(Vec<IpAddr>),
    /// It could not be asked, or our own addresses are not known.
    Unknown,
}

/// Asks the DNS.
pub(super) struct Resolving {
    /// `None` on a machine that knows no name server.
    resolver: Option<TokioResolver>,
    ours: BTreeSet<IpAddr>,
}

impl Resolving {
    pub(super) fn new(config: &TlsConfig) -> Self {
        let resolver = resolver(config);
        if let Err(error) = &resolver {
            tracing::warn!(%error, "the DNS cannot be asked where domains lead");
        }
        Self { resolver: resolver.ok(), ours: config.public_addresses.iter().copied().collect() }
    }

    /// Where a host leads; `platform` is a name that leads here.
    pub(super) async fn look(&self, host: &str, platform: &str) -> Reach {
        let looked = async {
            let found = match self.addresses(host).await {
                Some(found) if found.is_empty() => return Reach::Nowhere,
                Some(found) => found,
                None => return Reach::Unknown,
            };
            let ours = if self.ours.is_empty() {
                self.addresses(platform).await.unwrap_or_default()
            } else {
                self.ours.clone()
            };
            match (ours.is_empty(), found.is_disjoint(&ours)) {
                (true, _) => Reach::Unknown,
                (false, false) => Reach::Here,
                (false, true) => Reach::Elsewhere(found.into_iter().collect()),
            }
        };
        tokio::time::timeout(PATIENCE, looked).await.unwrap_or(Reach::Unknown)
    }

    /// Whether the DNS is sure that a host has no address.
    pub(super) async fn has_no_record(&self, host: &str) -> bool {
        let found = tokio::time::timeout(PATIENCE, self.addresses(host)).await;
        matches!(found, Ok(Some(found)) if found.is_empty())
    }

    async fn addresses(&self, host: &str) -> Option<BTreeSet<IpAddr>> {
        // The dot keeps search domains out.
        match self.resolver.as_ref()?.lookup_ip(format!("{host}.")).await {
            Ok(found) => Some(found.iter().collect()),
            Err(error) if error.is_nx_domain() || error.is_no_records_found() => Some(BTreeSet::new()),
            Err(_) => None,
        }
    }
}

fn resolver(config: &TlsConfig) -> Result<TokioResolver, NetError> {
    let mut builder = if config.dns_servers.is_empty() {
        TokioResolver::builder_tokio()?
    } else {
        let servers = config.dns_servers.iter().map(|server| {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                connection.port = server.port();
                connection
            });
            NameServerConfig::new(server.ip(), true, connections.into())
        });
        let servers = ResolverConfig::from_name_servers(servers.collect());
        TokioResolver::builder_with_config(servers, TokioRuntimeProvider::default())
    };
    let options = builder.options_mut();
    // A record that was set a moment ago shall be seen.
    (options.cache_size, options.timeout, options.attempts) = (0, Duration::from_secs(2), 2);
    builder.build()
}
