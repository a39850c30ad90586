//! The `[tls]` section.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

/// Certificates, and what is done with them.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// Where certificates come from.
    pub mode: TlsMode,
    /// Whose plain visitors are sent to https.
    pub redirect: Redirect,
    /// `Strict-Transport-Security: max-age`; 0 for none.
    pub hsts_seconds: u64,
    /// A mail address that the CA may write to.
    pub contact: Option<String>,
    /// ACME directories; those after the first are asked when one before fails.
    pub directories: Vec<Url>,
    /// A root certificate (PEM) that the directories' own https is checked against.
    pub ca_file: Option<PathBuf>,
    /// How the CA is shown that a host is ours.
    pub challenge: ChallengeChoice,
    /// Orders at a time.
    pub orders_at_once: usize,
    /// Addresses under which this platform is reached, when its domain's own records do not tell.
    pub public_addresses: Vec<IpAddr>,
    /// Asked in place of the system's name servers.
    pub dns_servers: Vec<SocketAddr>,
    /// An account with the CA that the ACME account is bound to.
    pub eab: EabConfig,
    /// Who can write into the DNS.
    pub dns: DnsConfig,
}

impl Default for TlsConfig {
    fn default() -> Self {
        let directory = Url::parse("https://acme-v02.api.letsencrypt.org/directory");
        Self {
            mode: TlsMode::Internal,
            redirect: Redirect::Trusted,
            hsts_seconds: 0,
            contact: None,
            directories: directory.into_iter().collect(),
            ca_file: None,
            challenge: ChallengeChoice::Auto,
            orders_at_once: 4,
            public_addresses: Vec::new(),
            dns_servers: Vec::new(),
            eab: EabConfig::default(),
            dns: DnsConfig::default(),
        }
    }
}

/// Where certificates come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// From CAs that speak ACME.
    Acme,
    /// From a CA of the platform's own.
    Internal,
    /// No TLS.
    Off,
}

/// Whose plain visitors are sent to https.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Redirect {
    /// Of hosts with a certificate that is not the platform's own CA's.
    Trusted,
    /// Of every host that can be had over https.
    Always,
    /// Nobody's.
    Never,
}

/// How the CA is shown that a host is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChallengeChoice {
    /// DNS where there is a provider for the name, else HTTP and TLS by turns.
    Auto,
    /// A file on port 80.
    #[serde(rename = "http-01")]
    Http01,
    /// A certificate on port 443.
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
    /// A record in the DNS.
    #[serde(rename = "dns-01")]
    Dns01,
}

/// External account binding.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EabConfig {
    /// Which directory it is for; the first by default.
    pub directory: Option<Url>,
    /// The key's id.
    pub kid: Option<String>,
    /// The key, base64url.
    pub key: Option<SecretString>,
    /// A file that holds the key.
    pub key_file: Option<PathBuf>,
}

/// Who can write into the DNS.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DnsConfig {
    /// Which kind.
    pub provider: DnsProvider,
    /// The zone it can write into; the platform's domain by default.
    pub zone: Option<String>,
    /// Seconds between writing a record and telling the CA.
    pub wait_seconds: u64,
    /// RFC 2136: the primary server.
    pub server: Option<SocketAddr>,
    /// RFC 2136: the TSIG key's name.
    pub key_name: Option<String>,
    /// RFC 2136: `hmac-sha256` and the like.
    pub key_algorithm: String,
    /// RFC 2136: the key (base64). Cloudflare: the API token.
    pub secret: Option<SecretString>,
    /// A file that holds it.
    pub secret_file: Option<PathBuf>,
    /// acme-dns: where its API is.
    pub url: Option<Url>,
    /// acme-dns: a file with its accounts, as lego, cert-manager and certbot's hook write it.
    pub accounts_file: Option<PathBuf>,
    /// Exec: the program and its first arguments.
    pub command: Vec<String>,
}

impl Default for DnsConfig {
    fn default() -> Self {
        Self {
            provider: DnsProvider::None,
            zone: None,
            wait_seconds: 5,
            server: None,
            key_name: None,
            key_algorithm: "hmac-sha256".into(),
            secret: None,
            secret_file: None,
            url: None,
            accounts_file: None,
            command: Vec::new(),
        }
    }
}

/// Kinds of DNS providers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DnsProvider {
    /// Nobody.
    None,
    /// A server that takes updates (RFC 2136) signed with TSIG.
    Rfc2136,
    /// A program.
    Exec,
    /// Cloudflare's API.
    Cloudflare,
    /// A name server for challenges only.
    #[serde(rename = "acme-dns")]
    AcmeDns,
}

impl TlsConfig {
    /// What does not fit together.
    pub(super) fn contradiction(&self) -> Option<String> {
        let dns = &self.dns;
        if self.mode == TlsMode::Acme && self.directories.is_empty() {
            return Some("tls.mode \"acme\" needs an address in `tls.directories`".into());
        }
        if self.orders_at_once == 0 {
            return Some("`tls.orders_at_once` must not be 0".into());
        }
        if self.eab.kid.is_some() != self.eab.key.is_some() {
            return Some("[tls.eab] needs `kid` and `key` (or `key_file`) together".into());
        }
        let missing = match dns.provider {
            DnsProvider::None if self.challenge == ChallengeChoice::Dns01 => "provider",
            DnsProvider::Rfc2136 if dns.server.is_none() => "server",
            DnsProvider::Rfc2136 if dns.key_name.is_none() => "key_name",
            DnsProvider::Rfc2136 | DnsProvider::Cloudflare if dns.secret.is_none() => "secret",
            DnsProvider::Exec if dns.command.is_empty() => "command",
            DnsProvider::AcmeDns if dns.url.is_none() => "url",
            DnsProvider::AcmeDns if dns.accounts_file.is_none() => "accounts_file",
            _ => return None,
        };
        Some(format!("[tls.dns] needs `{missing}` for what [tls] asks for"))
    }
}
