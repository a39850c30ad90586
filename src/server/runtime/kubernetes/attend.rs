//! One pod: what is known of the replica in it, told as it changes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::output::Output;
use super::pods::{Seen, observe};
use super::shared::Shared;
use super::trouble;
use super::watch::Word;
use crate::server::domain::{ExitReason, HealthCheck, Instance, InstanceState, LogSource, ReleaseVersion};
use crate::server::runtime::files as disk;
use crate::server::runtime::passage::Passage;

/// A replica, for as long as its pod exists.
pub(super) struct Replica {
    shared: Arc<Shared>,
    words: watch::Receiver<Word>,
    namespace: String,
    told: Instance,
    /// Of its generation, which the pod need not know.
    release: watch::Receiver<Option<ReleaseVersion>>,
    /// The run that was found ready, and where.
    ready: Option<(String, Option<SocketAddr>)>,
    /// When the present run will have been up for long enough.
    due: Option<Instant>,
    output: Option<AbortOnDropHandle<()>>,
    trouble: watch::Receiver<Option<String>>,
    _listening: AbortOnDropHandle<()>,
}

impl Replica {
    /// A replica, which becomes known at once, as it is. `None` if the pod is not ours to read.
    pub(super) fn new(shared: Arc<Shared>, words: watch::Receiver<Word>) -> Option<Self> {
        let pod = words.borrow().pod.clone();
        let seen = observe(&pod).filter(|seen| !seen.is_gone())?;
        let release = shared.notes.release(&seen.instance.workload);
        let seen = seen.of(*release.borrow());
        let namespace = pod.metadata.namespace.clone()?;
        let (tell, trouble) = watch::channel(None);
        let listening = trouble::listen(shared.clone(), namespace.clone(), pod.clone(), words.clone(), tell);
        let mut replica = Self {
            told: Instance { state: InstanceState::Starting, last_exit: None, ..seen.instance.clone() },
            release,
            words,
            namespace,
            ready: None,
            due: None,
            output: None,
            trouble,
            _listening: AbortOnDropHandle::new(shared.tasks.spawn(listening)),
            shared,
        };
        replica.output = Some(AbortOnDropHandle::new(replica.shared.tasks.spawn(replica.carry_output().follow())));
        // What happened before is no news.
        replica.told.last_exit.clone_from(&seen.instance.last_exit);
        replica.told.restarts = seen.instance.restarts;
        if seen.instance.state == InstanceState::Ended {
            // Told when all it said was handed on.
            replica.shared.roster.changed(&replica.told);
        } else {
            replica.take_in(&seen);
        }
        Some(replica)
    }

    /// Tells of every change until the pod is gone and all it said was handed on.
    pub(super) async fn attend(mut self) {
        let (mut hears, mut renews, mut swept) = (true, true, false);
        let listed = loop {
            let word = self.words.borrow_and_update().clone();
            let Some(seen) = observe(&word.pod).map(|seen| seen.of(*self.release.borrow())) else { break false };
            if word.gone || seen.is_gone() {
                self.told.last_exit.clone_from(&seen.instance.last_exit);
                break !word.gone;
            }
            if seen.is_spent && !swept {
                swept = true;
                self.sweep(&word.pod).await;
            }
            if seen.instance.state == InstanceState::Ended && self.told.state != InstanceState::Ended {
                self.output_is_whole().await;
            }
            self.take_in(&seen);
            tokio::select! {
                changed = self.words.changed() => if changed.is_err() { return },
                () = reached(self.due) => {}
                changed = self.release.changed(), if renews => renews = changed.is_ok(),
                changed = self.trouble.changed(), if hears => {
                    hears = changed.is_ok();
                    self.say_trouble();
                }
            }
        };
        self.end(listed).await;
    }

    /// What is to be told of a pod as it is now.
    fn take_in(&mut self, seen: &Seen) {
        let mut now = seen.instance.clone();
        self.tell_of_an_end(seen);
        if seen.runs && !seen.is_lost && now.state == InstanceState::Starting {
            self.find_ready(seen);
            if let Some((run, address)) = &self.ready
                && Some(run) == seen.run.as_ref()
            {
                now.state = InstanceState::Ready;
                now.address = *address;
            }
        } else {
            self.due = None;
        }
        if now.state != InstanceState::Ready {
            let lost =
                seen.is_lost.then(|| format!("nothing is heard of {}", now.machine.as_deref().unwrap_or("its node")));
            now.trouble = seen.cannot_start.clone().or(lost).or_else(|| self.trouble.borrow().clone());
        }
        if now != self.told || !self.shared.roster.knows(&now.name) {
            self.told = now;
            self.shared.roster.changed(&self.told);
        }
    }

    /// A run that ended and was followed by another before anybody looked has ended all the same.
    fn tell_of_an_end(&mut self, seen: &Seen) {
        let now = &seen.instance;
        if now.last_exit == self.told.last_exit || matches!(now.state, InstanceState::Stopping | InstanceState::Ended) {
            return;
        }
        let label = format!("{}.{}", now.workload.process, now.index);
        match (&seen.cannot_start, &now.last_exit) {
            (Some(why), _) => self.say(format!("{label} cannot be started: {why}")),
            (None, Some(exit)) => {
                self.say(format!("{label} exited with code {} ({:?}), restarting", exit.code, exit.reason));
            }
            (None, None) => return,
        }
        self.told = Instance {
            state: InstanceState::Crashed,
            address: None,
            restarts: self.told.restarts,
            started_at: self.told.started_at,
            trouble: seen.cannot_start.clone(),
            ..now.clone()
        };
        self.shared.roster.changed(&self.told);
    }

    /// Ready as the cluster says: sooner, its services would not know the pod yet when the one before it goes, and whoever comes
    /// by them would meet nobody. Only how long it has been up is for us to find. Found once a run.
    fn find_ready(&mut self, seen: &Seen) {
        self.due = None;
        let Some(run) = seen.run.clone().filter(|_| seen.ready && seen.at.is_some()) else { return };
        if self.ready.as_ref().is_some_and(|(ready, _)| *ready == run) {
            return;
        }
        let (address, left) = match &seen.health {
            HealthCheck::Uptime(enough) => (None, enough.saturating_sub(up_for(seen))),
            _ => (seen.at, Duration::ZERO),
        };
        if left.is_zero() {
            self.ready = Some((run, address));
        } else {
            self.due = Some(Instant::now() + left);
        }
    }

    fn carry_output(&self) -> Output {
        let Instance { name, workload, index, .. } = &self.told;
        let source = LogSource::Instance { name: name.clone(), process: workload.process.clone(), index: *index };
        let (file, logs) = (self.shared.position(name), self.shared.roster.logs.clone());
        Output {
            pods: self.shared.cluster.of(&self.namespace),
            name: name.clone(),
            words: self.words.clone(),
            passage: Passage { file, workload: workload.clone(), source, logs },
        }
    }

    async fn output_is_whole(&mut self) {
        if let Some(output) = self.output.take() {
            let _ = output.await;
        }
    }

    /// A pod that the cluster has given up (evicted, its node lost) is in the way of nobody, and of no use.
    async fn sweep(&self, pod: &Pod) {
        let why = pod.status.as_ref().and_then(|status| status.message.clone().or_else(|| status.reason.clone()));
        self.say(format!(
            "{}.{} was given up by the cluster: {}",
            self.told.workload.process,
            self.told.index,
            why.unwrap_or_default()
        ));
        let pods = self.shared.cluster.of::<Pod>(&self.namespace);
        if let Err(error) = self.shared.cluster.delete(&pods, &self.told.name, &DeleteParams::default()).await {
            tracing::warn!(instance.name = self.told.name, "{error}");
        }
    }

    fn say_trouble(&self) {
        if let Some(trouble) = self.trouble.borrow().as_ref() {
            self.say(format!("{}.{}: {trouble}", self.told.workload.process, self.told.index));
        }
    }

    fn say(&self, text: String) {
        self.shared.roster.say(&self.told.workload, text);
    }

    /// Its node lists a pod for half a minute and more after its end, until all is cleared up there; and whatever waits for
    /// what the pod belongs to, waits as long. Nothing runs in it any more and all it said is here: it need not be listed.
    async fn strike(&self) {
        let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        let pods = self.shared.cluster.of::<Pod>(&self.namespace);
        if let Err(error) = self.shared.cluster.delete(&pods, &self.told.name, &now).await {
            tracing::debug!(instance.name = self.told.name, "its node will strike it: {error}");
        }
    }

    async fn end(mut self, listed: bool) {
        self.output_is_whole().await;
        if listed {
            self.strike().await;
        }
        if let Err(error) = disk::remove_file(&self.shared.position(&self.told.name)) {
            tracing::warn!(instance.name = self.told.name, "{error}");
        }
        if self.told.last_exit.as_ref().is_some_and(|exit| exit.code == 137 && exit.reason != ExitReason::Lost)
            && self.told.state == InstanceState::Stopping
        {
            let label = format!("{}.{}", self.told.workload.process, self.told.index);
            self.say(format!("{label} did not end in time and was killed (SIGKILL)"));
        }
        self.shared.roster.gone(self.told);
    }
}

fn up_for(seen: &Seen) -> Duration {
    let begun = seen.instance.started_at.unwrap_or_else(Timestamp::now);
    Timestamp::now().duration_since(begun).try_into().unwrap_or_default()
}

/// Never, if nothing is due.
async fn reached(due: Option<Instant>) {
    match due {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
