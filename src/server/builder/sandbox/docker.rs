//! Builds in containers of the stack's own image, on the daemon that has this machine's files.
//!
//! A job's folders are bound into the container and are all of it that can be written. It has no capability and no way to
//! get one, no socket, a network without apps and without other builds, and the bounds of its job; it is killed with the
//! wait for it. What a killed server left is known by its label.
//!
//! Inside nobody is root. A server that is root gives the job's folders to the user inside for as long as the job runs;
//! another server's own user is the one inside.

mod container;
mod network;
mod owner;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bollard::errors::Error;
use bollard::query_parameters::ListContainersOptionsBuilder;
use ipnet::Ipv4Net;

use self::container::{Container, LABEL, SERVER};
use self::network::Network;
use super::usage::Usage;
use super::{Bound, Ending, Job, Sandbox, relay};
use crate::server::builder::messages::bytes;
use crate::server::docker::{Daemon, DockerError, Pin};
use crate::server::domain::Stack;
use crate::server::progress::Progress;

/// Between two words about a pull.
const PULL_WORD: Duration = Duration::from_secs(3);

/// How builds are made in containers.
#[derive(Debug, Clone)]
pub struct DockerBuilds {
    /// The daemon's socket.
    pub socket: PathBuf,
    /// What the daemon's objects of this server are labelled with.
    pub server: String,
    /// Where the builds' network may lie.
    pub subnets: Ipv4Net,
    /// The images of each stack: to run in and to build in.
    pub stacks: BTreeMap<Stack, StackImages>,
}

/// What a stack calls for.
#[derive(Debug, Clone)]
pub struct StackImages {
    /// To run in.
    pub run: Pin,
    /// To build in.
    pub build: Pin,
    /// What an operator types to make them; `None` when they are pulled when first needed.
    pub made_by: Option<String>,
}

/// Runs jobs in containers.
pub struct DockerSandbox {
    daemon: Daemon,
    settings: DockerBuilds,
    network: Network,
}

impl DockerSandbox {
    /// On the daemon at the socket, if it answers.
    pub async fn open(settings: DockerBuilds) -> Result<Self, DockerError> {
        let daemon = Daemon::connect(&settings.socket).await?;
        let network = Network::new(daemon.clone(), &settings.server, settings.subnets);
        Ok(Self { daemon, settings, network })
    }

    /// The build image of a stack. Both of its images are pulled if they are not there: what is built shall run.
    async fn image(&self, stack: &Stack, progress: &Progress) -> Result<String, String> {
        let Some(images) = self.settings.stacks.get(stack) else {
            let known: Vec<_> = self.settings.stacks.keys().map(Stack::as_str).collect();
            let known = known.join(", ");
            return Err(format!("there is no stack `{stack}` here: choose one of {known} with `gigalixir stack:set`"));
        };
        for pin in [&images.run, &images.build] {
            match (self.daemon.pinned(pin).await.map_err(told)?, &images.made_by) {
                (Some(_), _) => {}
                (None, Some(made_by)) => {
                    let reference = pin.reference();
                    return Err(format!("the image {reference} is not there; the operator makes it by `{made_by}`"));
                }
                (None, None) => self.pull(pin, progress).await?,
            }
        }
        Ok(images.build.name())
    }

    async fn pull(&self, pin: &Pin, progress: &Progress) -> Result<(), String> {
        progress.line(format!("-----> Pulling {}", pin.reference())).await;
        let (tell, mut hear) = tokio::sync::watch::channel(None);
        let pull = self.daemon.pull(pin.reference(), |so_far| {
            tell.send_replace(Some(so_far));
        });
        let mut pull = std::pin::pin!(pull);
        let mut said = Instant::now();
        loop {
            tokio::select! {
                done = &mut pull => {
                    done.map_err(told)?;
                    return self.daemon.pin(pin).await.map(drop).map_err(told);
                }
                Ok(()) = hear.changed() => {
                    let so_far = *hear.borrow_and_update();
                    if let Some(so_far) = so_far.filter(|_| said.elapsed() >= PULL_WORD) {
                        said = Instant::now();
                        progress.line(format!("       {} of {}", bytes(so_far.bytes), bytes(so_far.of))).await;
                    }
                }
                () = progress.cancelled().cancelled() => return Err("nobody waits for it any more".to_owned()),
            }
        }
    }
}

#[async_trait]
impl Sandbox for DockerSandbox {
    async fn clear(&self, prefix: &str) {
        if let Err(error) = self.clear_all(prefix).await {
            tracing::warn!("an earlier build's container cannot be cleared away: {error}");
        }
    }

    async fn run(&self, job: Job, progress: &Progress) -> Result<Ending, String> {
        let image = self.image(&job.stack, progress).await?;
        let network = self.network.name().await.map_err(told)?;
        let owner = owner::Lent::to_the_user_inside(&job).await.map_err(refused)?;
        let ended = self.run_in(&image, network, &job, owner.user(), progress).await;
        owner.give_back().await.map_err(refused)?;
        ended
    }
}

impl DockerSandbox {
    async fn run_in(
        &self,
        image: &str,
        network: &str,
        job: &Job,
        user: (u32, u32),
        progress: &Progress,
    ) -> Result<Ending, String> {
        let place = container::Place { image, network, server: &self.settings.server, user };
        let (container, output) = Container::start(self.daemon.clone(), job, &place).await.map_err(told)?;
        let usage = Arc::new(Usage::new(job, container.cgroup().await));
        let stopped = tokio::select! {
            ended = relay(output, progress, job.bounds.output_bytes) => ended.map_err(refused)?,
            bound = usage.watch() => Some(Ending::Hit(bound)),
            () = tokio::time::sleep(job.bounds.time) => Some(Ending::Hit(Bound::Time)),
            () = progress.cancelled().cancelled() => Some(Ending::Cancelled),
        };
        let end = if stopped.is_none() { Some(container.end().await.map_err(told)?) } else { None };
        container.remove().await.map_err(told)?;
        let (Some(end), None) = (end, stopped) else { return Ok(stopped.unwrap_or(Ending::Cancelled)) };
        let counted = usage.clone();
        let full = tokio::task::spawn_blocking(move || counted.disk_is_full()).await.map_err(refused)?;
        Ok(match end.code {
            _ if full => Ending::Hit(Bound::Disk),
            0 => Ending::Exited(0),
            _ if end.out_of_memory => Ending::Hit(Bound::Memory),
            _ if usage.forks_were_refused() => Ending::Hit(Bound::Processes),
            code => Ending::Exited(code),
        })
    }

    async fn clear_all(&self, prefix: &str) -> Result<(), Error> {
        let labels = vec![LABEL.to_owned(), format!("{SERVER}={}", self.settings.server)];
        let filters = HashMap::from([("label", labels)]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        for found in self.daemon.docker.list_containers(Some(options)).await? {
            let job = found.labels.unwrap_or_default().remove(LABEL).unwrap_or_default();
            if let (Some(id), true) = (found.id, job.starts_with(prefix)) {
                container::remove(&self.daemon, &id).await?;
            }
        }
        Ok(())
    }
}

fn told(error: DockerError) -> String {
    error.to_string()
}

fn refused(error: impl std::fmt::Display) -> String {
    format!("the build cannot be started: {error}")
}
