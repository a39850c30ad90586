//! The Docker daemon, in the few words that this adapter uses. Every object of ours carries the label of its server;
//! nothing without it is ever listed, changed or removed.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, ContainerState, ContainerStatsResponse, ContainerSummaryStateEnum};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, KillContainerOptionsBuilder, ListContainersOptionsBuilder,
    ListNetworksOptionsBuilder, RemoveContainerOptionsBuilder, StatsOptionsBuilder, UploadToContainerOptionsBuilder,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use ipnet::Ipv4Net;
use jiff::Timestamp;

use super::spec::{ADDRESS, APP, SERVER};
use crate::server::docker::{Daemon, DockerError, NewNetwork};
use crate::server::domain::{Exit, ExitReason};
use crate::server::runtime::{Cpu, Load, RuntimeError};

/// One address, and what a bridge needs beside it.
const MEETING_PREFIX: u8 = 30;
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The daemon, on behalf of one server.
#[derive(Clone)]
pub(super) struct Engine {
    daemon: Daemon,
    pub(super) docker: bollard::Docker,
    pub(super) server: String,
}

/// A container as it was found.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) labels: HashMap<String, String>,
    /// It was started once; what was only created is half made.
    pub(super) was_started: bool,
}

impl Found {
    /// A label's value, parsed.
    pub(super) fn label<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.labels.get(name)?.parse().ok()
    }
}

impl Engine {
    /// The daemon at a socket, if it answers there.
    pub(super) async fn connect(socket: &Path, server: String) -> Result<Self, RuntimeError> {
        let daemon = Daemon::connect(socket).await.map_err(unavailable)?;
        Ok(Self { docker: daemon.docker.clone(), daemon, server })
    }

    /// Whether the daemon has an image.
    pub(super) async fn has(&self, image: &str) -> Result<bool, RuntimeError> {
        Ok(self.daemon.image(image).await.map_err(unavailable)?.is_some())
    }

    /// Which release the daemon is.
    pub(super) async fn version(&self) -> Result<String, RuntimeError> {
        let version = self.docker.version().await.map_err(failed("asking Docker for its version"))?;
        Ok(version.version.unwrap_or_default())
    }

    fn mine(&self) -> HashMap<&'static str, Vec<String>> {
        HashMap::from([("label", vec![format!("{SERVER}={}", self.server)])])
    }

    /// Every container of this server, running or not.
    pub(super) async fn containers(&self) -> Result<Vec<Found>, RuntimeError> {
        let options = ListContainersOptionsBuilder::default().all(true).filters(&self.mine()).build();
        let all = self.docker.list_containers(Some(options)).await.map_err(failed("listing containers"))?;
        let found = all.into_iter().filter_map(|summary| {
            Some(Found {
                id: summary.id?,
                name: summary.names?.first()?.trim_start_matches('/').to_owned(),
                labels: summary.labels.unwrap_or_default(),
                was_started: summary.state != Some(ContainerSummaryStateEnum::CREATED),
            })
        });
        Ok(found.collect())
    }

    /// Makes a container; its id.
    pub(super) async fn create(&self, name: &str, body: ContainerCreateBody) -> Result<String, RuntimeError> {
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        let made = self.docker.create_container(Some(options), body).await;
        Ok(made.map_err(failed(format!("making the container {name}")))?.id)
    }

    /// Unpacks a tar archive in a container.
    pub(super) async fn upload(
        &self,
        container: &str,
        folder: &str,
        archive: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    ) -> Result<(), RuntimeError> {
        let options = UploadToContainerOptionsBuilder::default().path(folder).build();
        let archive = bollard::body_try_stream(archive);
        let done = self.docker.upload_to_container(container, Some(options), archive).await;
        done.map_err(failed(format!("filling {folder} of the container {container}")))
    }

    pub(super) async fn start(&self, container: &str) -> Result<(), RuntimeError> {
        let done = self.docker.start_container(container, None).await;
        done.map_err(failed(format!("starting the container {container}")))
    }

    /// What a container takes at the moment, if Docker can tell.
    pub(super) async fn load(&self, container: &str) -> Result<Option<Load>, RuntimeError> {
        let options = StatsOptionsBuilder::default().stream(false).one_shot(true).build();
        let mut told = self.docker.stats(container, Some(options));
        let Some(stats) = told.next().await.transpose().map_err(failed("asking what a container takes"))? else {
            return Ok(None);
        };
        Ok(load(&stats))
    }

    /// Sends a signal; none reaches what has ended, which is no error.
    pub(super) async fn signal(&self, container: &str, signal: &str) -> Result<(), RuntimeError> {
        let options = KillContainerOptionsBuilder::default().signal(signal).build();
        match self.docker.kill_container(container, Some(options)).await {
            Err(Error::DockerResponseServerError { status_code: 404 | 409, .. }) | Ok(()) => Ok(()),
            Err(error) => Err(failed(format!("signalling the container {container}"))(error)),
        }
    }

    /// Ends a container if need be and removes it; one that is gone is no error.
    pub(super) async fn remove(&self, container: &str) -> Result<(), RuntimeError> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match self.docker.remove_container(container, Some(options)).await {
            // 409: it is being removed already.
            Err(Error::DockerResponseServerError { status_code: 404 | 409, .. }) | Ok(()) => Ok(()),
            Err(error) => Err(failed(format!("removing the container {container}"))(error)),
        }
    }

    /// How a container is; `None` when there is none.
    pub(super) async fn state(&self, container: &str) -> Result<Option<ContainerState>, RuntimeError> {
        match self.docker.inspect_container(container, None).await {
            Ok(inspected) => Ok(inspected.state),
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => Err(failed(format!("looking at the container {container}"))(error)),
        }
    }

    /// The address that a container was given.
    pub(super) async fn address(&self, container: &str) -> Result<Ipv4Addr, RuntimeError> {
        let known = self.docker.inspect_container(container, None).await;
        let labels = known.map_err(failed(format!("looking at the container {container}")))?.config;
        let address = labels.and_then(|config| config.labels?.get(ADDRESS)?.parse().ok());
        address.ok_or_else(|| RuntimeError::NotRunning(container.to_owned()))
    }

    /// Returns when a container does not run any more, with how it ended. A daemon that goes away is waited for: it
    /// may come back with the container still running.
    pub(super) async fn ended(&self, container: &str) -> Exit {
        let mut pause = Duration::from_millis(50);
        loop {
            // Its answer says less than the state does, and comes as an error when the code is not 0.
            let _ = std::pin::pin!(self.docker.wait_container(container, None)).next().await;
            match self.state(container).await {
                Ok(Some(state)) if state.running != Some(true) => return exit(&state),
                Ok(None) => return lost(),
                Ok(Some(_)) => {}
                Err(error) => tracing::debug!(container, "asked again after: {error}"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// The networks of this server: name and app.
    pub(super) async fn networks(&self) -> Result<Vec<(String, String, Ipv4Net)>, RuntimeError> {
        let options = ListNetworksOptionsBuilder::default().filters(&self.mine()).build();
        let all = self.docker.list_networks(Some(options)).await.map_err(failed("listing networks"))?;
        let found = all.into_iter().filter_map(|network| {
            let subnet = network.ipam?.config?.first()?.subnet.as_ref()?.parse().ok()?;
            Some((network.name?, network.labels?.remove(APP)?, subnet))
        });
        Ok(found.collect())
    }

    /// Makes a network. `false`: somebody else's overlaps with that subnet.
    pub(super) async fn create_network(&self, name: &str, app: &str, subnet: Ipv4Net) -> Result<bool, RuntimeError> {
        let labels = HashMap::from([(SERVER.to_owned(), self.server.clone()), (APP.to_owned(), app.to_owned())]);
        let network = NewNetwork { name: name.to_owned(), labels, between: true };
        self.daemon.make_network(&network, subnet).await.map_err(unavailable)
    }

    /// An address of this machine that every container reaches: of a network that nobody else is in.
    pub(super) async fn meeting_place(&self, pool: Ipv4Net) -> Result<Ipv4Addr, RuntimeError> {
        let labels = HashMap::from([(SERVER.to_owned(), self.server.clone())]);
        let network = NewNetwork { name: format!("gigalixir-{}-directory", self.server), labels, between: false };
        let subnet = self.daemon.network(&network, pool, MEETING_PREFIX).await.map_err(unavailable)?;
        // Docker gives the bridge the first one.
        subnet.hosts().next().ok_or_else(|| RuntimeError::Unavailable(format!("{subnet} has no address")))
    }

    pub(super) async fn remove_network(&self, name: &str) -> Result<(), RuntimeError> {
        match self.docker.remove_network(name).await {
            Err(Error::DockerResponseServerError { status_code: 404, .. }) | Ok(()) => Ok(()),
            Err(error) => Err(failed(format!("removing the network {name}"))(error)),
        }
    }
}

/// As the control group counts: version 1 calls the one field otherwise.
fn load(stats: &ContainerStatsResponse) -> Option<Load> {
    let memory = stats.memory_stats.as_ref()?;
    let fields = memory.stats.as_ref();
    let cache = ["total_inactive_file", "inactive_file"].iter().find_map(|name| fields?.get(*name)).copied();
    let cpu = stats.cpu_stats.as_ref().and_then(|stats| stats.cpu_usage.as_ref()?.total_usage);
    let memory = memory.usage?.saturating_sub(cache.unwrap_or(0));
    Some(Load { memory, cpu: cpu.map(|nanos| Cpu::Time(Duration::from_nanos(nanos))) })
}

fn exit(state: &ContainerState) -> Exit {
    let code = state.exit_code.and_then(|code| i32::try_from(code).ok()).unwrap_or(126);
    let reason = match code {
        0 => ExitReason::Completed,
        _ if state.oom_killed == Some(true) => ExitReason::OOMKilled,
        _ => ExitReason::Error,
    };
    let at = state.finished_at.as_deref().and_then(|at| at.parse().ok()).unwrap_or_else(Timestamp::now);
    Exit { code, reason, at }
}

/// Somebody removed it under us.
fn lost() -> Exit {
    Exit { code: 137, reason: ExitReason::Error, at: Timestamp::now() }
}

fn unavailable(error: DockerError) -> RuntimeError {
    match error {
        DockerError::Unavailable(text) => RuntimeError::Unavailable(text),
        DockerError::Refused { doing, cause } => failed(doing)(cause),
    }
}

pub(super) fn failed(doing: impl Into<String>) -> impl FnOnce(Error) -> RuntimeError {
    let context = doing.into();
    move |error| RuntimeError::Io { context, source: std::io::Error::other(error) }
}
