//! One replica as the server sees it: a task that keeps a shim alive, follows what it says, asks whether the app is
//! ready, and hands its output on. The task can be dropped at any moment; the next server's goes on where it was.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::folder::{self, SPEC, STOPPING, Spec};
use super::generation::Renewal;
use super::link::{self, Link};
use super::output::Output;
use super::protocol::{Order, Phase, State, Word};
use super::shared::Shared;
use crate::server::confine::cgroup::Cgroup;
use crate::server::domain::{HealthCheck, Instance, InstanceState, ReleaseVersion, WorkloadId};
use crate::server::runtime::machine;
use crate::server::runtime::standing::Standing;
use crate::server::runtime::stop::{self, Stop};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What a shim may take beyond the grace.
const MARGIN: Duration = Duration::from_secs(10);

pub(super) struct Replica {
    shared: Arc<Shared>,
    dir: PathBuf,
    spec: Spec,
    health: HealthCheck,
    standing: Standing,
    output: Output,
    stop: Stop,
    renewal: watch::Receiver<Option<Renewal>>,
    stopped: bool,
}

impl Replica {
    /// The replica of a folder, whether its shim lives or not. It becomes known at once, as starting.
    pub(super) fn new(
        shared: Arc<Shared>,
        dir: PathBuf,
        spec: Spec,
        (workload, release, health): (WorkloadId, ReleaseVersion, HealthCheck),
        (stop, renewal): (Stop, watch::Receiver<Option<Renewal>>),
    ) -> io::Result<(Self, oneshot::Receiver<()>)> {
        shared.slots.claim(spec.slot);
        shared.slots.claim(spec.epmd_port);
        if let Some(port) = spec.dist_port {
            shared.dist_ports.enter(&workload.app, port);
        }
        // Of sessions of an earlier server.
        Cgroup::at(spec.cgroup.clone()).sweep();
        let output = Output::open(&dir, &shared.roster.logs, &workload, &spec)?;
        let instance = Instance {
            name: spec.name.clone(),
            workload,
            release,
            size: spec.size(),
            index: spec.index,
            state: InstanceState::Starting,
            address: None,
            node: spec.dist_port.map(|port| SocketAddr::new(spec.ip(), port)),
            machine: Some(machine::name()),
            restarts: 0,
            started_at: None,
            last_exit: None,
            trouble: None,
        };
        let (standing, settling) = Standing::begin(instance, &shared.roster);
        let replica = Self { shared, dir, spec, health, standing, output, stop, renewal, stopped: false };
        Ok((replica, settling))
    }

    /// Keeps it running until it is told to stop, then frees all it had.
    pub(super) async fn attend(mut self) {
        let mut pause = FIRST_PAUSE;
        while !self.stopped {
            let begun = Instant::now();
            let ended = self.session().await;
            if self.stopped {
                break;
            }
            let why = ended.err().map_or_else(|| "it ended".to_owned(), |error| error.to_string());
            let stopping = self.stop.borrow().is_some();
            tracing::warn!(instance.name = %self.spec.name, instance.stopping = stopping, "the shim is lost: {why}");
            if stopping {
                // The next session finds it dead, which is all that is wished.
                let _ = link::kill(&self.dir);
            } else {
                self.turn(InstanceState::Crashed);
                let next = if self.spec.once().is_some() { "" } else { " and is started anew" };
                let text = format!("{} was lost with its shim{next}", self.spec.label());
                self.shared.roster.say(&self.standing.instance.workload, text);
            }
            self.kill_rest().await;
            if begun.elapsed() > LONGEST_PAUSE {
                pause = FIRST_PAUSE;
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        self.free().await;
    }

    /// From a connection to its end.
    async fn session(&mut self) -> io::Result<()> {
        if self.renewal.has_changed().unwrap_or(false) {
            self.renew().await?;
        }
        if let Some(lock) = link::lock(&self.dir)? {
            if self.stop.borrow().is_some() {
                self.stopped = true;
                return Ok(());
            }
            self.confine()?;
            link::give_birth(&self.shared.program, &self.dir, lock)?;
        }
        let mut link = Link::connect(&self.dir).await?;
        let (mut stop, mut renewal) = (self.stop.clone(), self.renewal.clone());
        let mut deadline: Option<Instant> = None;
        while !self.stopped {
            tokio::select! {
                word = link.next() => match word? {
                    Word::State(state) if state.phase == Phase::Ended => {
                        // All it said comes before the news of its end.
                        self.output.finish().await;
                        self.follow(state);
                    }
                    Word::State(state) => self.follow(state),
                    Word::Output => self.output.look(),
                },
                address = self.standing.ready() => {
                    self.standing.turn_at(&self.shared.roster, InstanceState::Ready, address);
                }
                () = self.output.hand_on() => {}
                Ok(()) = renewal.changed() => self.renew().await?,
                grace = stop::told(&mut stop), if deadline.is_none() => {
                    deadline = Some(Instant::now() + grace + MARGIN);
                    std::fs::write(self.dir.join(STOPPING), "")?;
                    link.order(Order::Stop { grace }).await?;
                }
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "it does not end"));
                }
            }
        }
        Ok(())
    }

    /// Is another release from now on, and boots it from the next start on.
    async fn renew(&mut self) -> io::Result<()> {
        let Some(renewal) = self.renewal.borrow_and_update().clone() else { return Ok(()) };
        let (shared, dir, old, release) = (self.shared.clone(), self.dir.clone(), self.spec.clone(), renewal.release());
        let brought = tokio::task::spawn_blocking(move || renewal.bring(&shared, &dir, &old)).await;
        self.spec = brought.map_err(io::Error::other)??;
        self.standing.instance.release = release;
        self.shared.roster.changed(&self.standing.instance);
        Ok(())
    }

    /// Makes the control group, anew after the machine was restarted.
    fn confine(&mut self) -> io::Result<()> {
        let Some(cgroups) = &self.shared.cgroups else { return Ok(()) };
        let cgroup = cgroups.create(&self.spec.name, &self.spec.limits)?;
        if cgroup.paths() != self.spec.cgroup {
            self.spec.cgroup = cgroup.paths().to_vec();
            folder::write_json(&self.dir.join(SPEC), &self.spec, false)?;
        }
        Ok(())
    }

    fn follow(&mut self, state: State) {
        let same_run =
            state.started_at == self.standing.instance.started_at && state.restarts == self.standing.instance.restarts;
        self.standing.instance.restarts = state.restarts;
        self.standing.instance.started_at = state.started_at;
        self.standing.instance.last_exit = state.last_exit;
        match state.phase {
            Phase::Running if same_run && self.standing.instance.state == InstanceState::Ready => {}
            Phase::Running => {
                self.turn(InstanceState::Starting);
                self.ask(state.port);
            }
            Phase::Making => self.turn(InstanceState::Starting),
            Phase::Waiting => self.turn(InstanceState::Crashed),
            Phase::Stopping => self.turn(InstanceState::Stopping),
            Phase::Ended => self.turn(InstanceState::Ended),
            Phase::Stopped => {
                // Unless we told it, the machine is going down, or somebody ended the shim; that is not the app's end.
                self.stopped = self.stop.borrow().is_some();
                self.turn(InstanceState::Stopping);
            }
        }
    }

    /// Begins to ask whether it is ready.
    fn ask(&mut self, port: u16) {
        let hosts = [IpAddr::V4(Ipv4Addr::LOCALHOST), self.spec.ip(), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        let addresses = hosts.map(|host| SocketAddr::new(host, port));
        self.standing.ask(self.health.clone(), addresses.to_vec());
    }

    fn turn(&mut self, state: InstanceState) {
        self.standing.turn(&self.shared.roster, state);
    }

    /// Whatever a shim that died left behind. It should be nothing: the sandbox dies with it.
    async fn kill_rest(&mut self) {
        let cgroup = Cgroup::at(self.spec.cgroup.clone());
        let ended = tokio::task::spawn_blocking(move || cgroup.kill_all()).await;
        if let Err(error) = ended.map_err(io::Error::other).and_then(|ended| ended) {
            tracing::error!(instance.name = %self.spec.name, "processes are left over: {error}");
        }
    }

    async fn free(mut self) {
        self.turn(InstanceState::Stopping);
        self.kill_rest().await;
        self.output.finish().await;
        let cgroup = Cgroup::at(std::mem::take(&mut self.spec.cgroup));
        let dir = self.dir.clone();
        let freed = tokio::task::spawn_blocking(move || {
            cgroup.remove()?;
            // Without its spec it is half made, and will be removed if we are killed now.
            folder::remove_file(&dir.join(SPEC))?;
            folder::remove_tree(&dir)
        });
        if let Err(error) = freed.await.map_err(io::Error::other).and_then(|freed| freed) {
            tracing::error!(instance.name = %self.spec.name, "not all of the replica could be freed: {error}");
        }
        self.shared.slots.give_back(self.spec.slot);
        self.shared.slots.give_back(self.spec.epmd_port);
        if self.spec.dist_port.is_some() {
            self.shared.dist_ports.leave(&self.standing.instance.workload.app);
        }
        self.shared.roster.gone(self.standing.instance);
    }
}
