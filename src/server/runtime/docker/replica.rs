//! One replica: a container for each of its runs, one after the other, and what is known of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::engine::Found;
use super::files;
use super::networks::Lease;
use super::output::Output;
use super::shared::Shared;
use super::spec::{self, INDEX, Inside, LAST_EXIT, PORT, RESTARTS, Run};
use crate::server::domain::{Exit, ExitReason, HealthCheck, Instance, InstanceState, Lifetime, LogSource, Workload};
use crate::server::runtime::RuntimeError;
use crate::server::runtime::erlang::NODE_PORT;
use crate::server::runtime::files as disk;
use crate::server::runtime::machine;
use crate::server::runtime::passage::Passage;
use crate::server::runtime::standing::Standing;
use crate::server::runtime::stop::{self, Stop};

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A run of this length was a good one: the next end counts as the first.
const GOOD_RUN: Duration = Duration::from_secs(60);
/// As a shell says: found, but could not be run.
const CANNOT_RUN: i32 = 126;
/// Between SIGTERM and SIGKILL for what has passed its time limit.
const LIMIT_GRACE: Duration = Duration::from_secs(10);
/// Between tries to remove what cannot be removed.
const AGAIN: Duration = Duration::from_secs(5);

pub(super) struct Replica {
    shared: Arc<Shared>,
    workload: Workload,
    wish: watch::Receiver<Workload>,
    lease: Lease,
    standing: Standing,
    stop: Stop,
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
        mut wish: watch::Receiver<Workload>,
        place: Place,
        stop: Stop,
    ) -> (Self, oneshot::Receiver<()>) {
        let workload = wish.borrow_and_update().clone();
        let instance = Instance {
            name: place.name,
            workload: workload.id.clone(),
            release: workload.release,
            size: workload.size,
            index: place.index,
            state: InstanceState::Starting,
            address: None,
            node: Some(SocketAddr::new(place.lease.address.into(), NODE_PORT)),
            machine: Some(machine::name()),
            restarts: 0,
            started_at: None,
            last_exit: None,
            trouble: None,
        };
        let (standing, settling) = Standing::begin(instance, &shared.roster);
        (Self { shared, workload, wish, lease: place.lease, standing, stop }, settling)
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
                self.standing.instance.last_exit = Some(exit);
                return self.free().await;
            }
            if self.workload.lifetime != Lifetime::Service {
                self.standing.instance.last_exit = Some(exit);
                self.turn(InstanceState::Ended);
                stop::told(&mut self.stop).await;
                return self.free().await;
            }
            if begun.elapsed() >= GOOD_RUN {
                pause = FIRST_PAUSE;
            }
            let (label, code, reason) = (self.label(), exit.code, exit.reason);
            self.say(format!("{label} exited with code {code} ({reason:?}), restarting in {} s", pause.as_secs()));
            self.standing.instance.last_exit = Some(exit);
            self.turn(InstanceState::Crashed);
            tokio::select! {
                () = sleep(pause) => {}
                _ = stop::told(&mut self.stop) => return self.free().await,
            }
            self.standing.instance.restarts += 1;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// A running container's id: the one that was found, or a new one.
    async fn begin(&mut self, found: Option<Found>) -> Result<String, RuntimeError> {
        let known = found.filter(|found| found.was_started);
        if let Some(found) = known {
            self.standing.instance.restarts = found.label(RESTARTS).unwrap_or_default();
            let last = found.labels.get(LAST_EXIT).and_then(|exit| serde_json::from_str(exit).ok());
            self.standing.instance.last_exit = last;
            return Ok(found.id);
        }
        self.renew();
        self.standing.instance.started_at = None;
        self.turn(InstanceState::Starting);
        let engine = &self.shared.engine;
        // An earlier run's, or one that was half made.
        engine.remove(&self.standing.instance.name).await?;
        let inside = self.inside();
        let container = engine.create(&self.standing.instance.name, self.body(&inside)?).await?;
        let slug = self.shared.slugs.local_path(&self.workload.slug).await?;
        let (archive, whole) = files::archive(slug, &inside);
        engine.upload(&container, "/", archive).await?;
        let whole = whole.await.map_err(std::io::Error::other).and_then(|done| done);
        whole.map_err(|source| RuntimeError::Io { context: "reading the slug".to_owned(), source })?;
        engine.start(&container).await?;
        Ok(container)
    }

    /// Is another release from now on, and boots it from the next start on.
    fn renew(&mut self) {
        self.workload = self.wish.borrow_and_update().clone();
        self.standing.instance.release = self.workload.release;
    }

    fn inside(&self) -> Inside {
        let Instance { name, index, .. } = &self.standing.instance;
        Inside::of(&self.workload, (name, *index), self.lease.address.into(), self.shared.directory.as_ref())
    }

    fn body(&self, inside: &Inside) -> Result<bollard::models::ContainerCreateBody, RuntimeError> {
        Ok(spec::container(&Run {
            server: &self.shared.engine.server,
            workload: &self.workload,
            generation: &disk::generation_name(&self.workload.id),
            name: &self.standing.instance.name,
            index: self.standing.instance.index,
            image: self.shared.images.of(&self.workload.stack)?,
            network: &self.lease.network,
            address: self.lease.address,
            restarts: self.standing.instance.restarts,
            last_exit: self.standing.instance.last_exit.as_ref(),
            inside,
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
            self.standing.instance.started_at = state.started_at.and_then(|at| at.parse().ok());
        }
        self.turn(InstanceState::Starting);
        self.ask();
        let (mut stop, mut wish) = (self.stop.clone(), self.wish.clone());
        let mut deadline: Option<Instant> = None;
        let limit = self.limit();
        let mut timed_out = false;
        let mut ended = std::pin::pin!(shared.engine.ended(container));
        let exit = loop {
            tokio::select! {
                exit = &mut ended => break exit,
                address = self.standing.ready() => self.standing.turn_at(&shared.roster, InstanceState::Ready, address),
                Ok(()) = wish.changed() => {
                    self.renew();
                    self.shared.roster.changed(&self.standing.instance);
                }
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
        let run =
            self.standing.instance.started_at.and_then(|begin| Timestamp::now().duration_since(begin).try_into().ok());
        Some(Instant::now() + limit.saturating_sub(run.unwrap_or_default()))
    }

    async fn signal(&self, container: &str, signal: &str) {
        if let Err(error) = self.shared.engine.signal(container, signal).await {
            tracing::error!(instance.name = self.standing.instance.name, "{error}");
        }
    }

    fn output(&self, container: &str) -> Output {
        let Instance { name, workload, index, .. } = &self.standing.instance;
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
        // What nobody wishes any more is only here to be stopped.
        let wished = self.stop.borrow().is_none();
        let health = if wished { self.workload.health.clone() } else { HealthCheck::Uptime(Duration::MAX) };
        self.standing.ask(health, vec![address]);
    }

    fn label(&self) -> String {
        format!("{}.{}", self.standing.instance.workload.process, self.standing.instance.index)
    }

    fn say(&self, text: String) {
        self.shared.roster.say(&self.standing.instance.workload, text);
    }

    fn turn(&mut self, state: InstanceState) {
        self.standing.turn(&self.shared.roster, state);
    }

    async fn free(mut self) {
        self.turn(InstanceState::Stopping);
        while let Err(error) = self.shared.engine.remove(&self.standing.instance.name).await {
            tracing::error!(instance.name = self.standing.instance.name, "tried again: {error}");
            sleep(AGAIN).await;
        }
        if let Err(error) = disk::remove_file(&self.shared.position(&self.standing.instance.name)) {
            tracing::error!(
                instance.name = self.standing.instance.name,
                "not all of the replica could be freed: {error}"
            );
        }
        self.shared.networks.give_back(&self.standing.instance.workload.app, self.lease.address).await;
        self.shared.roster.gone(self.standing.instance);
    }
}

impl Found {
    /// Which one of its generation it is.
    pub(super) fn index(&self) -> Option<u32> {
        self.label(INDEX)
    }
}
