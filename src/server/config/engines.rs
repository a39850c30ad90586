//! What the runtimes stand on.

use std::path::PathBuf;

use ipnet::Ipv4Net;
use serde::Deserialize;
use url::Url;

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
