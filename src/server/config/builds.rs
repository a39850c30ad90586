//! Where slugs are built and kept.

use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

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
