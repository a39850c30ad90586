//! One replica: a container for each of its runs, one after the other, and what is known of it.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use jiff::Timestamp;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::engine::Found;
use super::files;
use super::networks::Lease;
use super::output::Output;
use super::shared::Shared;
use super::spec::{self, APP_FOLDER, INDEX, LAST_EXIT, PLATFORM, PORT, RESTARTS, Run};
use crate::server::domain::{Exit, ExitReason, HealthCheck, Instance, InstanceState, Lifetime, LogSource, Workload};
use crate::server::runtime::files as disk;
use crate::server::runtime::passage::Passage;
use crate::server::runtime::stop::{self, Stop};
use crate::server::runtime::{RuntimeError, health};

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A run of this length was a good one: the next end counts as the first.
const GOOD_RUN: Duration = Duration::from_secs(60);
/// As a shell says: found, but could not be run.
const CANNOT_RUN: i32 = 126;
/// Between tries to remove what cannot be removed.
/// Between SIGTERM and SIGKILL for what has passed its time limit.
const LIMIT_GRACE: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_secs(5);

type Readiness = Pin<Box<dyn Future<Output = Option<SocketAddr>> + Send + Sync>>;

pub(super) struct Replica {
    shared: Arc<Shared>,
    workload: Workload,
    lease: Lease,
    instance: Instance,
    stop: Stop,
    /// Dropped as soon as it is known how the replica is.
    settled: Option<oneshot::Sender<()>>,
    readiness: Option<Readiness>,
}

/// What a replica is made of.
pub(super) struct Place {
    pub(super) name: String,
    pub(super) index: u32,
    pub(super) lease: Lease,
}

impl Replica {
    /// A replica, which becomes known at once, as starting. The answer tells when it is known how it is.
    pub(super) fn new(
        shared: Arc<Shared>,
        workload: Workload,
        place: Place,
        stop: Stop,
    ) -> (Self, oneshot::Receiver<()>) {
        let instance = Instance {
            name: place.name,
            workload: workload.id.clone(),
            release: workload.release,
            size: workload.size,
            index: place.index,
            state: InstanceState::Starting,
            address: None,
            node: None,
            restarts: 0,
            started_at: None,
            last_exit: None,
            trouble: None,
        };
        shared.roster.changed(&instance);
        let (settled, settling) = oneshot::channel();
        let lease = place.lease;
        (Self { shared, workload, lease, instance, stop, settled: Some(settled), readiness: None }, settling)
    }

    /// Keeps it running until it is told to stop, then frees all it had. `found` is its container, if it has one.
    pub(super) async fn attend(mut self, mut found: Option<Found>) {
        let mut pause = FIRST_PAUSE;
        loop {
            let begun = Instant::now();
            let exit = match self.begin(found.take()).await {
                Ok(container) => self.run(&container).await,
                Err(error) => self.cannot_start(&error),
            };
            if self.stop.borrow().is_some() {
                return self.free().await;
            }
            if self.workload.lifetime != Lifetime::Service {
                self.instance.last_exit = Some(exit);
                self.turn(InstanceState::Ended);
                stop::told(&mut self.stop).await;
                return self.free().await;
            }
            if begun.elapsed() >= GOOD_RUN {
                pause = FIRST_PAUSE;
            }
            let (label, code, reason) = (self.label(), exit.code, exit.reason);
            self.say(format!("{label} exited with code {code} ({reason:?}), restarting in {} s", pause.as_secs()));
            self.instance.last_exit = Some(exit);
            self.turn(InstanceState::Crashed);
            tokio::select! {
                () = sleep(pause) => {}
                _ = stop::told(&mut self.stop) => return self.free().await,
            }
            self.instance.restarts += 1;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// A running container's id: the one that was found, or a new one.
    async fn begin(&mut self, found: Option<Found>) -> Result<String, RuntimeError> {
        let known = found.filter(|found| found.was_started);
        if let Some(found) = known {
            self.instance.restarts = found.label(RESTARTS).unwrap_or_default();
            let last = found.labels.get(LAST_EXIT).and_then(|exit| serde_json::from_str(exit).ok());
            self.instance.last_exit = last;
            return Ok(found.id);
        }
        self.instance.started_at = None;
        self.turn(InstanceState::Starting);
        let engine = &self.shared.engine;
        // An earlier run's, or one that was half made.
        engine.remove(&self.instance.name).await?;
        let container = engine.create(&self.instance.name, self.body()?).await?;
        engine.upload(&container, PLATFORM, stream::iter([Ok(self.shared.platform.clone())])).await?;
        let slug = self.shared.slugs.local_path(&self.workload.slug).await?;
        let (archive, whole) = files::slug(slug);
        engine.upload(&container, APP_FOLDER, archive).await?;
        let whole = whole.await.map_err(std::io::Error::other).and_then(|done| done);
        whole.map_err(|source| RuntimeError::Io { context: "reading the slug".to_owned(), source })?;
        engine.start(&container).await?;
        Ok(container)
    }

    fn body(&self) -> Result<bollard::models::ContainerCreateBody, RuntimeError> {
        Ok(spec::container(&Run {
            server: &self.shared.engine.server,
            workload: &self.workload,
            generation: &disk::generation_name(&self.workload.id),
            name: &self.instance.name,
            index: self.instance.index,
            image: self.shared.image(&self.workload.stack)?,
            network: &self.lease.network,
            address: self.lease.address,
            restarts: self.instance.restarts,
            last_exit: self.instance.last_exit.as_ref(),
        }))
    }

    fn cannot_start(&self, error: &RuntimeError) -> Exit {
        let why = std::error::Error::source(error).map(|why| format!(": {why}")).unwrap_or_default();
        self.say(format!("{} cannot be started: {error}{why}", self.label()));
        Exit { code: CANNOT_RUN, reason: ExitReason::Error, at: Timestamp::now() }
    }

    /// From a started container to its end, with all it said.
    async fn run(&mut self, container: &str) -> Exit {
        let shared = self.shared.clone();
        let output = AbortOnDropHandle::new(shared.tasks.spawn(self.output(container).follow()));
        if let Ok(Some(state)) = shared.engine.state(container).await {
            self.instance.started_at = state.started_at.and_then(|at| at.parse().ok());
        }
        self.turn(InstanceState::Starting);
        self.ask();
        let mut stop = self.stop.clone();
        let mut deadline: Option<Instant> = None;
        let limit = self.limit();
        let mut timed_out = false;
        let mut ended = std::pin::pin!(shared.engine.ended(container));
        let exit = loop {
            tokio::select! {
                exit = &mut ended => break exit,
                address = ready(&mut self.readiness) => self.turn_at(InstanceState::Ready, address),
                grace = stop::told(&mut stop), if deadline.is_none() => {
                    self.turn(InstanceState::Stopping);
                    deadline = Some(Instant::now() + grace);
                    self.signal(container, "SIGTERM").await;
                }
                () = sleep_until(limit.unwrap_or_else(Instant::now)), if limit.is_some() && deadline.is_none() => {
                    self.say(format!("{} has run as long as it may, and is ended", self.label()));
                    timed_out = true;
                    deadline = Some(Instant::now() + LIMIT_GRACE);
                    self.signal(container, "SIGTERM").await;
                }
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    self.say(format!("{} did not end in time and was killed (SIGKILL)", self.label()));
                    self.signal(container, "SIGKILL").await;
                    break ended.await;
                }
            }
        };
        let _ = output.await;
        if timed_out { Exit { reason: ExitReason::TimedOut, ..exit } } else { exit }
    }

    /// When its time is up, if it runs once. While no server is there nobody looks; the next one does at once.
    fn limit(&self) -> Option<Instant> {
        let Lifetime::Once { limit } = self.workload.lifetime else { return None };
        let run = self.instance.started_at.and_then(|begin| Timestamp::now().duration_since(begin).try_into().ok());
        Some(Instant::now() + limit.saturating_sub(run.unwrap_or_default()))
    }

    async fn signal(&self, container: &str, signal: &str) {
        if let Err(error) = self.shared.engine.signal(container, signal).await {
            tracing::error!(instance.name = self.instance.name, "{error}");
        }
    }

    fn output(&self, container: &str) -> Output {
        let Instance { name, workload, index, .. } = &self.instance;
        let passage = Passage {
            file: self.shared.position(name),
            workload: workload.clone(),
            source: LogSource::Instance { name: name.clone(), process: workload.process.clone(), index: *index },
            logs: self.shared.roster.logs.clone(),
        };
        Output { engine: self.shared.engine.clone(), container: container.to_owned(), passage }
    }

    /// Begins to ask whether it is ready.
    fn ask(&mut self) {
        let address = SocketAddr::new(self.lease.address.into(), PORT);
        let up_for = self.instance.started_at.and_then(|begin| Timestamp::now().duration_since(begin).try_into().ok());
        // What nobody wishes any more is only here to be stopped.
        let wished = self.stop.borrow().is_none();
        let health = if wished { self.workload.health.clone() } else { HealthCheck::Uptime(Duration::MAX) };
        self.readiness =
            Some(Box::pin(async move { health::ready(&health, &[address], up_for.unwrap_or_default()).await }));
    }

    fn label(&self) -> String {
        format!("{}.{}", self.instance.workload.process, self.instance.index)
    }

    fn say(&self, text: String) {
        self.shared.roster.say(&self.instance.workload, text);
    }

    fn turn(&mut self, state: InstanceState) {
        self.turn_at(state, None);
    }

    fn turn_at(&mut self, state: InstanceState, address: Option<SocketAddr>) {
        self.readiness = None;
        self.instance.state = state;
        self.instance.address = address;
        self.shared.roster.changed(&self.instance);
        // After it was made known: who waited for it lists next.
        if state != InstanceState::Starting {
            self.settled = None;
        }
    }

    async fn free(mut self) {
        self.turn(InstanceState::Stopping);
        while let Err(error) = self.shared.engine.remove(&self.instance.name).await {
            tracing::error!(instance.name = self.instance.name, "tried again: {error}");
            sleep(AGAIN).await;
        }
        if let Err(error) = disk::remove_file(&self.shared.position(&self.instance.name)) {
            tracing::error!(instance.name = self.instance.name, "not all of the replica could be freed: {error}");
        }
        self.shared.networks.give_back(&self.instance.workload.app, self.lease.address).await;
        self.shared.roster.gone(self.instance);
    }
}

impl Found {
    /// Which one of its generation it is.
    pub(super) fn index(&self) -> Option<u32> {
        self.label(INDEX)
    }
}

async fn ready(readiness: &mut Option<Readiness>) -> Option<SocketAddr> {
    match readiness {
        Some(readiness) => readiness.await,
        None => std::future::pending().await,
    }
}
