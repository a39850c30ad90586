//! What an operator may decide. Parsed once at start ([`ServerConfig::load`]): built-in defaults, then the file, then
//! environment variables, then flags. Every key stands with its default in `config/server.toml`, which a test holds
//! against these structs. Rooms never read the environment; they are handed their part as a value.

mod addresses;
mod builds;
mod defaults;
mod doors;
mod engines;
mod limits;
mod load;
mod mail;
mod refusals;
mod tls;
mod unsafe_settings;
mod variables;

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::Deserialize;
use url::Url;

use super::domain::Hostname;

pub use addresses::SshAddress;
pub use builds::{BuilderConfig, S3Config, SandboxChoice, SlugStore, SlugsConfig};
pub use doors::{GatewayConfig, RouterTimeouts};
pub use engines::{DockerSettings, KubernetesSettings};
pub use limits::{JobsConfig, Limits, Rates};
pub use load::{ConfigError, Overrides};
pub use mail::{SmtpConfig, SmtpTls};
pub use tls::{ChallengeChoice, DnsConfig, DnsProvider, EabConfig, Redirect, TlsConfig, TlsMode};

/// Everything.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// All state is in here; mode 0700. Empty in the file: the user's state folder.
    pub data_dir: PathBuf,
    /// Apps are `APP.DOMAIN`.
    pub domain: Hostname,
    /// Where the API and git listen.
    pub api: SocketAddr,
    /// Where visitors' plain HTTP listens.
    pub http: SocketAddr,
    /// Where visitors' TLS listens.
    pub https: SocketAddr,
    /// Where ssh listens.
    pub ssh: SocketAddr,
    /// Where apps run.
    pub runtime: RuntimeChoice,
    /// Whether apps end with the server. Otherwise they run on and the next server takes them over.
    pub stop_apps_on_exit: bool,
    /// Who may sign up.
    pub signups: Signups,
    /// What is logged, in `RUST_LOG`'s language.
    pub log: String,
    /// How it is written.
    pub log_format: LogFormat,
    /// As clients reach the API, when not as it listens.
    pub api_url: Option<Url>,
    /// As `git push` reaches the platform, when not under `api_url`.
    pub git_url: Option<Url>,
    /// As browsers reach `DOMAIN`, when not `http://DOMAIN:PORT`; an app's URL has its name in front of the host.
    pub app_url: Option<Url>,
    /// Proxies whose `X-Forwarded-For` is believed.
    #[serde(deserialize_with = "load::networks")]
    pub trusted_proxies: Vec<IpNet>,
    /// Sending mail.
    pub smtp: SmtpConfig,
    /// How much of everything.
    pub limits: Limits,
    /// How often something may be asked.
    pub rates: Rates,
    /// Building slugs.
    pub builder: BuilderConfig,
    /// Keeping slugs.
    pub slugs: SlugsConfig,
    /// Replacing old by new.
    pub deploy: DeployConfig,
    /// One-off, scheduled and release-phase jobs.
    pub jobs: JobsConfig,
    /// Between visitors and apps.
    pub router: RouterTimeouts,
    /// Certificates.
    pub tls: TlsConfig,
    /// People who enter replicas by ssh.
    pub gateway: GatewayConfig,
    /// What use costs.
    pub billing: BillingConfig,
    /// The Docker runtime.
    pub docker: DockerSettings,
    /// The Kubernetes runtime.
    pub kubernetes: KubernetesSettings,
    /// The file all this was read from, if any.
    #[serde(skip)]
    pub file: Option<PathBuf>,
}

/// Where apps run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuntimeChoice {
    /// Whatever this machine has.
    Auto,
    /// Under bubblewrap on this machine.
    Local,
    /// In Docker.
    Docker,
    /// On Kubernetes.
    Kubernetes,
}

/// Who may sign up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signups {
    /// One person, the operator.
    First,
    /// Anybody with an e-mail address.
    Open,
    /// Nobody.
    Closed,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// For eyes.
    Text,
    /// For machines.
    Json,
}

/// Replacing old by new.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeployConfig {
    /// Seconds a new release has to become healthy.
    pub health_seconds: u64,
    /// Seconds that requests on the old release have to end.
    pub drain_seconds: u64,
    /// Seconds between SIGTERM and SIGKILL.
    pub grace_seconds: u64,
}

/// What use costs. Use is counted always and charged never: invoices say what it would come to.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BillingConfig {
    /// Whether use has a price.
    pub enabled: bool,
    /// Of a replica-size-second, in whole units of the currency.
    pub price: f64,
    /// As invoices name it.
    pub currency: String,
}
