//! Where apps run: chooses the runtime at start, and carries over what an earlier start ran elsewhere.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::mpsc;
use url::Url;

use super::cluster;
use super::config::{RuntimeChoice, ServerConfig};
use super::domain::{LogLine, Stack, WorkloadId};
use super::runtime::docker::{Docker, DockerConfig};
use super::runtime::kubernetes::{Kubernetes, KubernetesConfig};
use super::runtime::local::{Directory, Local, LocalConfig};
use super::runtime::moving::Moving;
use super::runtime::{Runtime, SlugAddresses, SlugSource};
use super::stacks::{self, Definition};

type Lines = mpsc::Sender<(WorkloadId, LogLine)>;

/// How runtimes get at slugs.
pub(super) struct Sources {
    /// As files on this disk.
    pub(super) files: Arc<dyn SlugSource>,
    /// As other machines fetch them from an address of this server.
    pub(super) addresses: Box<dyn Fn(Url) -> Arc<dyn SlugAddresses> + Send + Sync>,
}

/// What apps run on.
pub(super) struct Chosen {
    /// The runtime.
    pub(super) runtime: Arc<dyn Runtime>,
    /// The stack of new apps, and all that can be chosen.
    pub(super) stacks: (Stack, Vec<Stack>),
}

/// Starts the runtime that the operator chose, and beside it the one that still has something of an earlier start.
pub(super) async fn start(
    config: &ServerConfig,
    slugs: Sources,
    lines: Lines,
    directory: Option<&cluster::Directory>,
) -> anyhow::Result<Chosen> {
    let machine = super::settings::machine_stack(Path::new("/etc/os-release"));
    let stacks = stacks::all(config.docker.stacks_dir.as_deref())?;
    let image = stacks.get(&machine).map(|definition| definition.run.as_str());
    let chosen = match config.runtime {
        RuntimeChoice::Auto if Kubernetes::is_configured(config.kubernetes.kubeconfig.as_deref()) => {
            RuntimeChoice::Kubernetes
        }
        RuntimeChoice::Auto if Docker::has(&config.docker.socket, image).await => RuntimeChoice::Docker,
        RuntimeChoice::Auto => RuntimeChoice::Local,
        chosen => chosen,
    };
    let made = Making { config, slugs, lines, directory, stacks: &stacks };
    match chosen {
        RuntimeChoice::Docker if !Docker::has(&config.docker.socket, image).await => {
            no_image(&config.docker.socket, &machine, image)?;
        }
        RuntimeChoice::Kubernetes => {
            image.with_context(|| format!("apps are built on this machine, and {}", no_stack(&machine)))?;
        }
        _ => {}
    }
    let mut runtime = made.start(chosen).await?;
    for other in [RuntimeChoice::Local, RuntimeChoice::Docker, RuntimeChoice::Kubernetes] {
        if other != chosen && left_in(&config.data_dir.join(folder(other))) {
            let from = made.start(other).await?;
            tracing::warn!("Moving what still runs on the {} runtime to the {} runtime.", from.name(), runtime.name());
            runtime = Moving::begin(runtime, from);
        }
    }
    Ok(Chosen { runtime, stacks: (machine.clone(), vec![machine]) })
}

/// All that runtimes are made of.
struct Making<'a> {
    config: &'a ServerConfig,
    slugs: Sources,
    lines: Lines,
    directory: Option<&'a cluster::Directory>,
    stacks: &'a BTreeMap<Stack, Definition>,
}

impl Making<'_> {
    async fn start(&self, which: RuntimeChoice) -> anyhow::Result<Arc<dyn Runtime>> {
        let (files, lines) = (self.slugs.files.clone(), self.lines.clone());
        Ok(match which {
            RuntimeChoice::Docker => Docker::start(docker_config(self.config, self.stacks), files, lines).await?,
            RuntimeChoice::Kubernetes => {
                let (server, visitors) = kubernetes_address(self.config).await?;
                let addresses = (self.slugs.addresses)(server);
                Kubernetes::start(kubernetes_config(self.config, self.stacks, visitors), addresses, lines).await?
            }
            RuntimeChoice::Auto | RuntimeChoice::Local => {
                Local::start(local_config(&self.config.data_dir, self.directory), files, lines).await?
            }
        })
    }
}

/// Where a runtime's wishes are, below the data folder.
fn folder(runtime: RuntimeChoice) -> &'static str {
    match runtime {
        RuntimeChoice::Docker => "docker",
        RuntimeChoice::Kubernetes => "kubernetes",
        RuntimeChoice::Auto | RuntimeChoice::Local => "replicas",
    }
}

fn no_stack(machine: &Stack) -> String {
    format!(
        "there is no stack `{machine}` to run them in: describe one in a file `{machine}.toml` and name its folder as \
         `docker.stacks_dir`, or use runtime \"local\""
    )
}

/// Where pods fetch slugs from, and this machine's address as the cluster sees it.
async fn kubernetes_address(config: &ServerConfig) -> anyhow::Result<(Url, Option<IpAddr>)> {
    let told = &config.kubernetes;
    let own = Kubernetes::own_address(told.kubeconfig.as_deref(), told.context.as_deref()).await?;
    let url = match (&told.server_url, &config.api_url) {
        (Some(url), _) | (None, Some(url)) => url.clone(),
        (None, None) => {
            let ip = if config.api.ip().is_unspecified() { own } else { Some(config.api.ip()) };
            let ip = ip.filter(|ip| !ip.is_loopback()).with_context(|| {
                format!(
                    "pods could not fetch slugs: the API listens on {}, which is no address of theirs to reach. Let it \
                     listen on this machine's address (`api`), or say how it is reached (`kubernetes.server_url`)",
                    config.api
                )
            })?;
            Url::parse(&format!("http://{}", SocketAddr::new(ip, config.api.port())))?
        }
    };
    Ok((url, own))
}

fn kubernetes_config(
    config: &ServerConfig,
    stacks: &BTreeMap<Stack, Definition>,
    own: Option<IpAddr>,
) -> KubernetesConfig {
    let told = &config.kubernetes;
    KubernetesConfig {
        kubeconfig: told.kubeconfig.clone(),
        context: told.context.clone(),
        dir: config.data_dir.join("kubernetes"),
        namespace_prefix: told.namespace_prefix.clone(),
        images: images(stacks),
        grace: Duration::from_secs(config.deploy.grace_seconds),
        visitors: own.into_iter().collect(),
    }
}

fn images(stacks: &BTreeMap<Stack, Definition>) -> BTreeMap<Stack, String> {
    stacks.iter().map(|(stack, definition)| (stack.clone(), definition.run.clone())).collect()
}

fn no_image(socket: &Path, machine: &Stack, image: Option<&str>) -> anyhow::Result<()> {
    let image = image.with_context(|| format!("apps are built on this machine, and {}", no_stack(machine)))?;
    anyhow::bail!(
        "Docker at {} does not answer or has no image `{image}`: start it, and make or pull the image (`gigalixir \
         stacks:build {machine}`, `docker pull {image}`)",
        socket.display()
    )
}

fn docker_config(config: &ServerConfig, stacks: &BTreeMap<Stack, Definition>) -> DockerConfig {
    DockerConfig {
        socket: config.docker.socket.clone(),
        dir: config.data_dir.join("docker"),
        images: images(stacks),
        subnets: config.docker.subnets,
    }
}

fn local_config(data: &Path, directory: Option<&cluster::Directory>) -> LocalConfig {
    let directory = directory
        .map(|directory| Directory { address: directory.address, authority_pem: directory.authority_pem().to_owned() });
    LocalConfig { dir: data.join("replicas"), program: LocalConfig::THIS_PROGRAM.into(), directory }
}

/// Whether a runtime's folder still has something in it, beside its own name.
fn left_in(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|entries| entries.flatten().any(|entry| entry.file_name() != Kubernetes::IDENTITY))
}
