//! How visitors come to apps, and people into them.

use ipnet::IpNet;
use secrecy::SecretString;
use serde::Deserialize;

/// Between visitors and apps.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RouterTimeouts {
    /// Seconds to connect to an app.
    pub connect_seconds: u64,
    /// Seconds until an app begins its answer.
    pub response_seconds: u64,
    /// Seconds until a visitor has sent a request's headers.
    pub header_seconds: u64,
    /// Seconds that a visitor may neither send nor take a byte of a body that is due.
    pub body_seconds: u64,
    /// Seconds that an upgraded connection may be silent.
    pub idle_seconds: u64,
    /// Load balancers whose connections begin with a PROXY announcement.
    #[serde(deserialize_with = "super::load::networks")]
    pub proxy_protocol: Vec<IpNet>,
    /// With it an ingress in front may ask the API which error page fits a host.
    pub default_backend_key: Option<SecretString>,
    /// With it `/metrics` shows what passes to all apps.
    pub metrics_key: Option<SecretString>,
}

/// People who enter replicas by ssh.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayConfig {
    /// `HOST` or `HOST:PORT` as ssh clients reach the server, when not as it listens.
    pub address: Option<String>,
    /// Seconds that signing in may take.
    pub login_seconds: u64,
    /// Seconds that nothing may happen on a connection.
    pub idle_seconds: u64,
    /// Seconds of silence after which a client is asked whether it is there.
    pub keepalive_seconds: u64,
    /// Failed connections per address (IPv6: per /64) and minute.
    pub attempts_per_address: u32,
    /// Connections of one address (IPv6: of one /64).
    pub connections_per_address: usize,
    /// Connections of one account.
    pub connections_per_account: usize,
    /// Channels of one connection.
    pub channels_per_connection: usize,
    /// MiB sent through one connection that programs have not read yet.
    pub buffer_mib: usize,
    /// Seconds that programs may go on when the server stops.
    pub drain_seconds: u64,
}
