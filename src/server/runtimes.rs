//! Where apps run and are built: chooses the runtime and the builds' sandbox at start, and carries over what an earlier
//! start ran elsewhere.

mod builds;
mod in_cluster;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use anyhow::Context;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::builder::{BubblewrapSandbox, DockerBuilds, DockerSandbox, Sandbox, StackImages};
use super::cluster;
use super::config::{RuntimeChoice, SandboxChoice, ServerConfig};
use super::confine::bubblewrap::Bubblewrap;
use super::confine::cgroup::Cgroups;
use super::docker::{Daemon, Use};
use super::domain::Stack;
use super::parcels::Parcels;
use super::runtime::docker::{self, Docker, DockerConfig};
use super::runtime::kubernetes::Kubernetes;
use super::runtime::local::{Local, LocalConfig};
use super::runtime::moving::Moving;
use super::runtime::{Directory, Lines, Runtime, SlugAddresses, SlugSource};
use super::stacks::{self, Definition, Offered};

type Stacks = BTreeMap<Stack, Definition>;

/// How runtimes get at slugs, and builds at what they need.
pub(super) struct Sources {
    /// As files on this disk.
    pub(super) files: Arc<dyn SlugSource>,
    /// As other machines fetch them from an address of this server.
    pub(super) addresses: Box<dyn Fn(Url) -> Arc<dyn SlugAddresses> + Send + Sync>,
    /// What builds elsewhere begin with and bring back.
    pub(super) parcels: Arc<Parcels>,
}

/// What apps run on and are built in.
pub(super) struct Chosen {
    /// The runtime.
    pub(super) runtime: Arc<dyn Runtime>,
    /// The same, where it is a cluster.
    pub(super) kubernetes: Option<Arc<Kubernetes>>,
    /// The builds' sandbox.
    pub(super) sandbox: Arc<dyn Sandbox>,
    /// What can be built on.
    pub(super) stacks: Offered,
}

/// Starts the runtime that the operator chose, and beside it those that still have something of an earlier start.
pub(super) async fn start(
    config: &ServerConfig,
    slugs: Sources,
    lines: Lines,
    mut directory: Option<&mut cluster::Directory>,
) -> anyhow::Result<Chosen> {
    let (data, machine) = (&config.data_dir, super::settings::machine_stack(Path::new("/etc/os-release")));
    let stacks = stacks::all(config.docker.stacks_dir.as_deref())?;
    let chosen = choose(config, &stacks, &machine).await;
    let in_containers = chosen == RuntimeChoice::Docker || left_in(&data.join("docker"));
    let met = match &mut directory {
        Some(directory) if in_containers => meet(config, directory).await,
        _ => None,
    };
    let here = directory.map(|directory| as_told(directory.address, directory));
    let parcels = slugs.parcels.clone();
    let made = Making { config, slugs, lines, stacks: &stacks, here, met, kubernetes: OnceLock::new() };
    let mut runtime = made.start(chosen).await?;
    let kubernetes = made.kubernetes.get().cloned();
    for other in [RuntimeChoice::Local, RuntimeChoice::Docker, RuntimeChoice::Kubernetes] {
        if other != chosen
            && left_in(&data.join(folder(other)))
            && let Some(from) = if_it_is_there(made.start(other).await)
        {
            tracing::warn!("Moving what still runs on the {} runtime to the {} runtime.", from.name(), runtime.name());
            runtime = Moving::begin(runtime, from);
        }
    }
    let builds = match (config.builder.sandbox, chosen) {
        (SandboxChoice::Auto, RuntimeChoice::Docker) => SandboxChoice::Docker,
        (SandboxChoice::Auto, RuntimeChoice::Kubernetes) if Bubblewrap::find().is_err() => SandboxChoice::Kubernetes,
        (sandbox, _) => sandbox,
    };
    let sandbox: Arc<dyn Sandbox> = match builds {
        SandboxChoice::Docker => Arc::new(DockerSandbox::open(docker_builds(config, &stacks)).await?),
        SandboxChoice::Kubernetes => Arc::new(builds::sandbox(config, &stacks, parcels).await?),
        SandboxChoice::Auto | SandboxChoice::Bubblewrap => Arc::new(bubblewrap(data)),
    };
    let stacks = offered(config, (chosen, builds), machine, stacks)?;
    if chosen == RuntimeChoice::Docker {
        look_for_images(&stacks).await?;
    }
    Ok(Chosen { runtime, kubernetes, sandbox, stacks })
}

async fn choose(config: &ServerConfig, stacks: &Stacks, machine: &Stack) -> RuntimeChoice {
    match config.runtime {
        RuntimeChoice::Auto if Kubernetes::is_configured(config.kubernetes.kubeconfig.as_deref()) => {
            RuntimeChoice::Kubernetes
        }
        RuntimeChoice::Auto if has_image(config, stacks, machine).await => RuntimeChoice::Docker,
        RuntimeChoice::Auto => RuntimeChoice::Local,
        chosen => chosen,
    }
}

/// All that runtimes are made of.
struct Making<'a> {
    config: &'a ServerConfig,
    slugs: Sources,
    lines: Lines,
    stacks: &'a Stacks,
    /// Where replicas on this machine ask for each other,
    here: Option<Directory>,
    /// and those in its containers.
    met: Option<Directory>,
    /// The runtime on a cluster, once it is started.
    kubernetes: OnceLock<Arc<Kubernetes>>,
}

impl Making<'_> {
    async fn start(&self, which: RuntimeChoice) -> anyhow::Result<Arc<dyn Runtime>> {
        let (config, files, lines) = (self.config, self.slugs.files.clone(), self.lines.clone());
        Ok(match which {
            RuntimeChoice::Docker => {
                Docker::start(docker_config(config, self.stacks, self.met.clone()), files, lines).await?
            }
            RuntimeChoice::Kubernetes => {
                let (server, own) = in_cluster::addresses(config).await?;
                let told = in_cluster::told(config, self.stacks, own)?;
                let kubernetes = Kubernetes::start(told, (self.slugs.addresses)(server), lines).await?;
                self.kubernetes.get_or_init(|| kubernetes).clone()
            }
            RuntimeChoice::Auto | RuntimeChoice::Local => {
                Local::start(local_config(&config.data_dir, self.here.clone()), files, lines).await?
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

/// A runtime that is left must not keep the other from starting: its machine may be without it by now.
fn if_it_is_there(left: anyhow::Result<Arc<dyn Runtime>>) -> Option<Arc<dyn Runtime>> {
    left.inspect_err(|error| {
        tracing::warn!("What an earlier start ran elsewhere is out of reach, and is made anew here: {error:#}");
    })
    .ok()
}

/// What is built shall run: only what both the sandbox and the runtime can be.
fn offered(
    config: &ServerConfig,
    (runtime, builds): (RuntimeChoice, SandboxChoice),
    machine: Stack,
    stacks: Stacks,
) -> anyhow::Result<Offered> {
    let docker = builds == SandboxChoice::Docker || runtime == RuntimeChoice::Docker;
    let socket = docker.then(|| config.docker.socket.clone());
    let builds_in_images = matches!(builds, SandboxChoice::Docker | SandboxChoice::Kubernetes);
    let runs_in_images = matches!(runtime, RuntimeChoice::Docker | RuntimeChoice::Kubernetes);
    if !builds_in_images && !runs_in_images {
        return Ok(Offered::machine(machine));
    }
    if builds_in_images && runs_in_images {
        let newest = stacks.keys().rfind(|stack| stack.as_str().starts_with("gigalixir-"));
        let default = if stacks.contains_key(&machine) { Some(&machine) } else { newest.or(stacks.keys().next()) };
        let default = default.context("there is no stack: describe one in a file of `docker.stacks_dir`")?.clone();
        return Ok(Offered {
            default,
            all: stacks.into_iter().map(|(name, made)| (name, Some(made))).collect(),
            socket,
        });
    }
    // One of them is this machine.
    let definition = stacks.get(&machine).cloned().with_context(|| {
        format!(
            "either builds or apps are on this machine, a `{machine}`, and there is no stack of that name for the others: \
             describe one in a file `{machine}.toml` and name its folder as `docker.stacks_dir`, or choose one place for \
             both with `runtime` and `builder.sandbox`"
        )
    })?;
    Ok(Offered { all: BTreeMap::from([(machine.clone(), Some(definition))]), default: machine, socket })
}

/// Pins what is there, and says what is not: a push could do with less, but its pusher could not help it.
async fn look_for_images(stacks: &Offered) -> anyhow::Result<()> {
    let Some(socket) = &stacks.socket else { return Ok(()) };
    let daemon = Daemon::connect(socket).await?;
    for (stack, definition) in &stacks.all {
        let Some(definition) = definition else { continue };
        let (pins, command) = definition.both(stack);
        for pin in pins {
            match daemon.pinned(&pin).await {
                Ok(Some(_)) => {}
                Ok(None) if *stack == stacks.default => {
                    tracing::warn!(
                        "The image {} of the stack {stack} is missing: `{command}` gets it.",
                        pin.reference()
                    );
                }
                Ok(None) => {}
                Err(error) => tracing::warn!("The stack {stack} cannot be used: {error}"),
            }
        }
    }
    if let Err(error) = daemon.sweep_pins().await {
        tracing::warn!("Images of before could not be swept: {error}");
    }
    Ok(())
}

async fn has_image(config: &ServerConfig, stacks: &Stacks, stack: &Stack) -> bool {
    let (Some(definition), true) = (stacks.get(stack), config.docker.socket.exists()) else { return false };
    match Daemon::connect(&config.docker.socket).await {
        Ok(daemon) => daemon.pinned(&definition.pin(stack, Use::Run)).await.is_ok_and(|image| image.is_some()),
        Err(_) => false,
    }
}

fn docker_config(config: &ServerConfig, stacks: &Stacks, directory: Option<Directory>) -> DockerConfig {
    DockerConfig {
        socket: config.docker.socket.clone(),
        dir: config.data_dir.join("docker"),
        images: stacks.iter().map(|(stack, made)| (stack.clone(), made.pin(stack, Use::Run).name())).collect(),
        subnets: config.docker.subnets,
        directory,
    }
}

fn docker_builds(config: &ServerConfig, stacks: &Stacks) -> DockerBuilds {
    let images = |(stack, made): (&Stack, &Definition)| {
        let ([run, build], command) = made.both(stack);
        (stack.clone(), StackImages { run, build, made_by: made.debootstrap.is_some().then_some(command) })
    };
    DockerBuilds {
        socket: config.docker.socket.clone(),
        server: docker::server_of(&docker_folder(config)),
        subnets: config.docker.subnets,
        stacks: stacks.iter().map(images).collect(),
    }
}

/// Named after the folder: what another server of this machine builds is not ours to sweep.
fn bubblewrap(data: &Path) -> BubblewrapSandbox {
    let folder = Sha256::digest(data.as_os_str().as_encoded_bytes());
    BubblewrapSandbox::new(Cgroups::detect(&format!("gigalixir-builds-{}", hex::encode(&folder[..4]))).ok())
}

/// Without it replicas run and are not told of each other.
pub(super) fn open_directory(data: &Path) -> Option<cluster::Directory> {
    let opened = cluster::Directory::open(data).inspect_err(|error| {
        tracing::warn!("replicas of one app will NOT find each other: {error}");
    });
    let directory = opened.ok()?;
    if let Some(why) = &directory.without_https {
        tracing::info!(
            "Replicas ask for each other at {}: port 443 there cannot be had ({why}). libcluster before 3.3 knows no \
             other.",
            directory.address
        );
    }
    Some(directory)
}

/// Lets the directory listen where containers reach it too. Without it they run and are not told of each other.
async fn meet(config: &ServerConfig, directory: &mut cluster::Directory) -> Option<Directory> {
    let (socket, subnets) = (&config.docker.socket, config.docker.subnets);
    let place = match Docker::meeting_place(socket, &docker_folder(config), subnets).await {
        Ok(ip) => directory.also_at(ip.into()).map_err(anyhow::Error::from),
        Err(error) => Err(error.into()),
    };
    match place {
        Ok((address, _)) => Some(as_told(address, directory)),
        Err(error) => {
            tracing::warn!("replicas of one app will NOT find each other: {error:#}");
            None
        }
    }
}

fn as_told(address: SocketAddr, directory: &cluster::Directory) -> Directory {
    Directory { address, authority_pem: directory.authority_pem().to_owned() }
}

/// As the Docker runtime will name it.
fn docker_folder(config: &ServerConfig) -> PathBuf {
    config.data_dir.canonicalize().unwrap_or_else(|_| config.data_dir.clone()).join("docker")
}

fn local_config(data: &Path, directory: Option<Directory>) -> LocalConfig {
    LocalConfig { dir: data.join("replicas"), program: LocalConfig::THIS_PROGRAM.into(), directory }
}

/// Whether a runtime's folder still has something in it, beside its own name.
fn left_in(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|entries| entries.flatten().any(|entry| entry.file_name() != Kubernetes::IDENTITY))
}
