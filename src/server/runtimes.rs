//! Where apps run: chooses the runtime at start, and carries over what an earlier start ran elsewhere.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use tokio::sync::mpsc;

use super::cluster;
use super::config::{RuntimeChoice, ServerConfig};
use super::domain::{LogLine, Stack, WorkloadId};
use super::runtime::docker::{Docker, DockerConfig};
use super::runtime::local::{Directory, Local, LocalConfig};
use super::runtime::moving::Moving;
use super::runtime::{Runtime, SlugSource};
use super::stacks::{self, Definition};

type Lines = mpsc::Sender<(WorkloadId, LogLine)>;

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
    slugs: Arc<dyn SlugSource>,
    lines: Lines,
    directory: Option<&cluster::Directory>,
) -> anyhow::Result<Chosen> {
    let (data, machine) = (&config.data_dir, super::settings::machine_stack(Path::new("/etc/os-release")));
    let stacks = stacks::all(config.docker.stacks_dir.as_deref())?;
    let docker = || Docker::start(docker_config(config, &stacks), slugs.clone(), lines.clone());
    let local = || Local::start(local_config(data, directory), slugs.clone(), lines.clone());
    let chosen = match config.runtime {
        RuntimeChoice::Auto if Docker::has(&config.docker.socket, image(&stacks, &machine)).await => {
            RuntimeChoice::Docker
        }
        RuntimeChoice::Auto => RuntimeChoice::Local,
        chosen => chosen,
    };
    let (to, from): (Arc<dyn Runtime>, Option<Arc<dyn Runtime>>) = match chosen {
        RuntimeChoice::Docker => {
            let image = image(&stacks, &machine);
            if !Docker::has(&config.docker.socket, image).await {
                no_image(&config.docker.socket, &machine, image)?;
            }
            (docker().await?, if left_in(&data.join("replicas")) { Some(local().await?) } else { None })
        }
        _ => (local().await?, if left_in(&data.join("docker")) { Some(docker().await?) } else { None }),
    };
    let runtime = match from {
        Some(from) => {
            tracing::warn!("Moving what still runs on the {} runtime to the {} runtime.", from.name(), to.name());
            Moving::begin(to, from)
        }
        None => to,
    };
    Ok(Chosen { runtime, stacks: (machine.clone(), vec![machine]) })
}

fn no_image(socket: &Path, machine: &Stack, image: Option<&str>) -> anyhow::Result<()> {
    let image = image.context(format!(
        "apps are built on this machine, a `{machine}`, and there is no stack of that name to run them in: describe one \
         in a file `{machine}.toml` and name its folder as `docker.stacks_dir`, or use runtime \"local\""
    ))?;
    anyhow::bail!(
        "Docker at {} does not answer or has no image `{image}`: start it, and make or pull the image (`gigalixir \
         stacks:build {machine}`, `docker pull {image}`)",
        socket.display()
    )
}

fn image<'a>(stacks: &'a BTreeMap<Stack, Definition>, stack: &Stack) -> Option<&'a str> {
    stacks.get(stack).map(|definition| definition.run.as_str())
}

fn docker_config(config: &ServerConfig, stacks: &BTreeMap<Stack, Definition>) -> DockerConfig {
    DockerConfig {
        socket: config.docker.socket.clone(),
        dir: config.data_dir.join("docker"),
        images: stacks.iter().map(|(stack, definition)| (stack.clone(), definition.run.clone())).collect(),
        subnets: config.docker.subnets,
    }
}

fn local_config(data: &Path, directory: Option<&cluster::Directory>) -> LocalConfig {
    let directory = directory
        .map(|directory| Directory { address: directory.address, authority_pem: directory.authority_pem().to_owned() });
    LocalConfig { dir: data.join("replicas"), program: LocalConfig::THIS_PROGRAM.into(), directory }
}

/// Whether a runtime's folder still has something in it.
fn left_in(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some())
}
