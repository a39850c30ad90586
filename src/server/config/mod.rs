//! What an operator may decide. Parsed once at start ([`ServerConfig::load`]): built-in defaults, then the file, then
//! environment variables, then flags. Every key stands with its default in `config/server.toml`, which a test holds
//! against these structs. Rooms never read the environment; they are handed their part as a value.

mod addresses;
mod defaults;
mod load;
mod tls;
mod unsafe_settings;

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net};
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use super::domain::Hostname;

pub use addresses::SshAddress;
pub use load::{ConfigError, Overrides};
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

/// Mail. Without a host each mail is a file in `DATA/outbox`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SmtpConfig {
    /// The relay.
    pub host: Option<String>,
    /// By default 587, 465 or 25, as `tls` has it.
    pub port: Option<u16>,
    /// How the connection is protected.
    pub tls: SmtpTls,
    /// To sign in with.
    pub username: Option<String>,
    /// To sign in with.
    pub password: Option<SecretString>,
    /// A file that holds the password.
    pub password_file: Option<PathBuf>,
    /// The sender; by default `gigalixir@DOMAIN`.
    pub from: Option<String>,
}

/// How an SMTP connection is protected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SmtpTls {
    /// Begins plain, must turn to TLS.
    #[default]
    Starttls,
    /// TLS from the first byte.
    Tls,
    /// Not at all.
    None,
}

/// How much of everything. A MiB is 1,048,576 bytes.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// KiB of a JSON request.
    pub body_kib: usize,
    /// MiB of one push's pack.
    pub pack_mib: u64,
    /// MiB of one object in a pack, unpacked.
    pub object_mib: u64,
    /// Pushes received at once; others wait.
    pub pushes_at_once: usize,
    /// MiB of a slug.
    pub slug_mib: u64,
    /// MiB of log kept for each app.
    pub log_mib: u64,
    /// Releases kept for each app; at least 2, so that there is one to go back to.
    pub releases_kept: u32,
    /// KiB of an app's variables, names and values together.
    pub config_kib: usize,
    /// SSH keys of one account.
    pub ssh_keys_per_account: u32,
    /// Apps of one account.
    pub apps_per_account: u32,
    /// Custom domains of one app.
    pub domains_per_app: u32,
    /// People with a role in one app, beside its owner.
    pub people_per_app: u32,
    /// Log drains of one app.
    pub drains_per_app: u32,
    /// Whether drains may lead to this machine and to private networks.
    pub private_drains: bool,
    /// Consoles, programs and tunnels of one account over the API, at once.
    pub sessions_per_account: usize,
}

/// How often something may be asked: so many at once, then as many again evenly over the time. 0 is unlimited.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rates {
    /// Requests to the API and git per address (IPv6: per /64) and minute.
    pub requests_per_address: u32,
    /// Requests of one account per minute.
    pub requests_per_account: u32,
    /// Failed sign-ins per address (IPv6: per /64) and minute.
    pub logins_per_address: u32,
    /// Failed sign-ins per account and minute.
    pub logins_per_account: u32,
    /// Signup steps and tokens tried per address and minute.
    pub codes_per_address: u32,
    /// Wrong codes per signup; then it begins anew.
    pub codes_per_signup: u32,
    /// Mails to one mail address per hour.
    pub mails_per_recipient: u32,
}

/// Where builds run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SandboxChoice {
    /// In Docker where apps run in Docker, else under bubblewrap if it is there, else in the cluster if there is one.
    Auto,
    /// Under bubblewrap on this machine.
    Bubblewrap,
    /// In a container of the stack's build image.
    Docker,
    /// In a pod of it.
    Kubernetes,
}

/// Building slugs.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BuilderConfig {
    /// Where builds run.
    pub sandbox: SandboxChoice,
    /// Where precompiled Erlang and Elixir come from when the machine's own do not fit; without it they cannot be had.
    pub elixir_mirror: Option<Url>,
    /// Buildpacks found here by name go before the built-in ones.
    pub buildpacks_dir: Option<PathBuf>,
    /// Builds at once; others wait.
    pub at_once: usize,
    /// Minutes of a build.
    pub minutes: u64,
    /// MiB of memory of a build.
    pub memory_mib: u64,
    /// Processes of a build.
    pub pids: u32,
    /// MiB that a build and its cache may write.
    pub disk_mib: u64,
    /// MiB that a build may say.
    pub output_mib: u64,
}

/// Keeping slugs.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SlugsConfig {
    /// Where.
    pub store: SlugStore,
    /// Seconds that a signed slug URL is good for.
    pub url_seconds: u64,
    /// MiB of an S3 store's slugs kept on this disk.
    pub cache_mib: u64,
    /// The S3 store.
    pub s3: S3Config,
}

/// Where slugs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SlugStore {
    /// `DATA/slugs`.
    Local,
    /// A bucket.
    S3,
}

/// An S3-compatible store.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3Config {
    /// Its address.
    pub endpoint: Option<Url>,
    /// An existing bucket.
    pub bucket: Option<String>,
    /// For signing; most stores do not mind.
    pub region: Option<String>,
    /// The access key's name.
    pub access_key: Option<String>,
    /// The access key's secret.
    pub secret_key: Option<SecretString>,
    /// A file that holds the secret.
    pub secret_key_file: Option<PathBuf>,
    /// In front of every key.
    pub prefix: String,
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

/// The Docker runtime.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DockerSettings {
    /// The daemon's socket.
    pub socket: PathBuf,
    /// Where the apps' networks lie; each takes 64 addresses.
    pub subnets: Ipv4Net,
    /// Files in here are stacks that go before the built-in ones of the same name.
    pub stacks_dir: Option<PathBuf>,
}

/// The Kubernetes runtime.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KubernetesSettings {
    /// How to reach the cluster; without it, as the pod that the server runs in, or as the user's own kubeconfig says.
    pub kubeconfig: Option<PathBuf>,
    /// Which of its contexts, when not the current one.
    pub context: Option<String>,
    /// Where pods reach this server's API to fetch slugs.
    pub server_url: Option<Url>,
    /// In front of an app's name, its namespace's name.
    pub namespace_prefix: String,
    /// The class of the ingress objects that lead visitors to apps; without it there are none.
    pub ingress_class: Option<String>,
    /// What registries want to be signed in with, as `docker login` writes it.
    pub registries_file: Option<PathBuf>,
}

/// One-off, scheduled and release-phase jobs.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobsConfig {
    /// Seconds of a job that does not say.
    pub seconds: u64,
    /// Seconds of a job at a terminal that does not say.
    pub terminal_seconds: u64,
    /// Seconds of any job.
    pub longest_seconds: u64,
    /// Seconds of a release phase.
    pub release_seconds: u64,
    /// Jobs of one app that run at a time.
    pub at_once: usize,
    /// Jobs of one app that wait.
    pub queued: u32,
    /// Runners of one app that there may be at a time, beside its jobs; 0 for none ever.
    pub runners: usize,
    /// Records of ended jobs kept for each app.
    pub kept: u32,
    /// KiB of output kept for each job.
    pub output_kib: u64,
    /// Schedules of one app.
    pub schedules: u32,
}

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
    #[serde(deserialize_with = "load::networks")]
    pub proxy_protocol: Vec<IpNet>,
    /// With it an ingress in front may ask the API which error page fits a host.
    pub default_backend_key: Option<SecretString>,
    /// With it `/metrics` shows what passes to all apps.
    pub metrics_key: Option<SecretString>,
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
