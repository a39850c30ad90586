//! Running: which of those that wait may start, and what becomes of each. A task attends to a job from its start, or from
//! the server's, to its end; it can be dropped at any moment, and the next server's goes on where it was.

use std::error::Error as _;

use jiff::Timestamp;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::watch;

use crate::server::domain::{
    Exit, ExitReason, Instance, InstanceState, JobEnd, JobKind, JobState, Outcome, Workload, WorkloadId,
};
use crate::server::runtime::{InstanceEvent, RuntimeError};
use crate::server::steps;
use crate::server::store::{OpenJob, StoredWorkload, WorkloadState};

use super::{JobError, Jobs, Settings, Stop, attended};

/// The code of a run that nobody saw end: as if it was killed.
const LOST: i32 = 137;

/// Jobs that wait for each other, and for no others of their app.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Of releases: never kept waiting.
    Phases,
    /// Asked for by people and schedules.
    Errands,
    /// Of the app itself.
    Runners,
}

impl Class {
    fn of(kind: JobKind) -> Self {
        match kind {
            JobKind::Release => Self::Phases,
            JobKind::Run | JobKind::Cron => Self::Errands,
            JobKind::Flame => Self::Runners,
        }
    }

    /// How many of one app run at a time; `None`: any number.
    fn most(self, settings: &Settings) -> Option<usize> {
        match self {
            Self::Phases => None,
            Self::Errands => Some(settings.at_once),
            Self::Runners => Some(settings.runners),
        }
    }
}

/// How a run was seen to end.
enum Seen {
    /// By itself, or by a limit.
    Ended(Exit),
    /// Because it was told to; perhaps before it ran.
    Stopped(Option<Exit>),
}

impl Jobs {
    /// Starts all that may start, and ends those that wait and are not to.
    pub(super) async fn choose(&self) -> Result<(), JobError> {
        let _one_at_a_time = self.0.choosing.lock().await;
        let open = self.0.rooms.store.open_jobs().await?;
        let mut running: Vec<&OpenJob> = open.iter().filter(|job| job.job.state == JobState::Running).collect();
        for job in open.iter().filter(|job| job.job.state == JobState::Queued) {
            if job.stopping {
                self.end_unstarted(job).await?;
            } else if self.may_start(job, &running) && self.0.rooms.store.start_job(job.job.id).await? {
                steps::reached("job.started");
                self.attend_later(job.clone());
                running.push(job);
            }
        }
        Ok(())
    }

    /// The same, for whoever cannot wait for it.
    pub(super) fn choose_later(&self) {
        let this = self.clone();
        self.0.tasks.spawn(async move {
            let chosen = tokio::select! {
                chosen = this.choose() => chosen,
                () = this.0.stop.cancelled() => return,
            };
            if let Err(error) = chosen {
                tracing::error!(error = %error, "Jobs that wait could not be started.");
            }
        });
    }

    fn may_start(&self, job: &OpenJob, running: &[&OpenJob]) -> bool {
        let class = Class::of(job.job.kind);
        let Some(most) = class.most(&self.0.settings) else { return true };
        let like = |other: &&&OpenJob| other.job.app == job.job.app && Class::of(other.job.kind) == class;
        let others = running.iter().filter(like);
        let before = |other: &&OpenJob| job.waits && other.job.schedule == job.job.schedule;
        others.clone().count() < most && !others.clone().any(before)
    }

    /// Attends to a job that the runtime has, or is to have.
    pub(super) fn attend_later(&self, job: OpenJob) {
        let (stop, stopped) = watch::channel(if job.stopping { Stop::Wanted } else { Stop::No });
        self.running().insert(job.job.id, stop);
        let this = self.clone();
        self.0.tasks.spawn(async move {
            let attended = tokio::select! {
                attended = this.attend(&job, stopped) => attended,
                () = this.0.stop.cancelled() => return,
            };
            if let Err(error) = attended {
                tracing::error!(job.id = job.job.id.0, error = %error, "A job is left to the next start.");
            }
            this.running().remove(&job.job.id);
            this.0.ends.send_modify(|count| *count += 1);
            this.choose_later();
        });
    }

    async fn attend(&self, job: &OpenJob, stop: watch::Receiver<Stop>) -> Result<(), JobError> {
        let workload = self.workload(job)?;
        let (end, detail) = match self.run_to_end(&workload, stop.clone()).await {
            Ok(Seen::Ended(exit)) => (JobEnd::of(&exit), None),
            Ok(Seen::Stopped(exit)) => match *stop.borrow() {
                Stop::Done(code) => (JobEnd::of(&attended::exit(code, exit)), None),
                Stop::No | Stop::Wanted => {
                    let end = JobEnd::without_run(Outcome::Stopped, Timestamp::now());
                    (JobEnd { code: exit.map(|exit| exit.code), ..end }, None)
                }
            },
            Err(error) => (JobEnd::without_run(Outcome::NotStarted, Timestamp::now()), Some(told(&error))),
        };
        self.finish(job, &workload.id, end, detail).await?;
        if let Err(error) = self.0.rooms.runtime.remove(&workload.id, self.0.settings.grace).await {
            tracing::error!(job.id = job.job.id.0, error = %error, "Something of an ended job is left over.");
        }
        self.0.rooms.output.close(&workload.id);
        Ok(())
    }

    /// The record first, the news after: whoever hears of the end finds it recorded.
    async fn finish(
        &self,
        job: &OpenJob,
        workload: &WorkloadId,
        end: JobEnd,
        detail: Option<String>,
    ) -> Result<(), JobError> {
        let rooms = &self.0.rooms;
        let outcome = end.outcome.as_str();
        let text = match (end.code, &detail) {
            (Some(code), _) => format!("code {code} ({outcome})"),
            (None, Some(detail)) => format!("{outcome}: {detail}"),
            (None, None) => outcome.to_owned(),
        };
        let forgotten = rooms.store.end_job(job.job.id, end, detail, self.0.settings.kept).await?;
        steps::reached("job.ended");
        rooms.output.end(workload, &text, &rooms.lines).await;
        for id in forgotten {
            rooms.output.forget(id).await;
        }
        Ok(())
    }

    /// One that was stopped while it waited.
    async fn end_unstarted(&self, job: &OpenJob) -> Result<(), JobError> {
        let workload = self.workload(job)?;
        self.finish(job, &workload.id, JobEnd::without_run(Outcome::Stopped, Timestamp::now()), None).await?;
        self.0.rooms.output.close(&workload.id);
        self.0.ends.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Tells the runtime (again does no harm) and waits for the end.
    async fn run_to_end(&self, workload: &Workload, mut stop: watch::Receiver<Stop>) -> Result<Seen, RuntimeError> {
        let runtime = &self.0.rooms.runtime;
        let mut events = runtime.watch();
        if *stop.borrow() == Stop::No {
            runtime.apply(workload).await?;
        }
        let mut present = self.present(&workload.id).await?;
        loop {
            if let Some(ended) = present.filter(|instance| instance.state == InstanceState::Ended) {
                return Ok(Seen::Ended(ended.last_exit.unwrap_or_else(lost)));
            }
            present = tokio::select! {
                event = next(&mut events, &workload.id) => match event {
                    Some(InstanceEvent::Changed(instance)) => Some(instance),
                    Some(InstanceEvent::Gone(instance)) => {
                        return Ok(Seen::Ended(instance.last_exit.unwrap_or_else(lost)));
                    }
                    None => self.present(&workload.id).await?,
                },
                () = told_to_stop(&mut stop) => return self.end_now(&workload.id, events).await,
            };
        }
    }

    pub(super) async fn present(&self, id: &WorkloadId) -> Result<Option<Instance>, RuntimeError> {
        Ok(self.0.rooms.runtime.instances().await?.into_iter().find(|instance| instance.workload == *id))
    }

    async fn end_now(&self, id: &WorkloadId, mut events: Receiver<InstanceEvent>) -> Result<Seen, RuntimeError> {
        self.0.rooms.runtime.remove(id, self.0.settings.grace).await?;
        let mut exit = None;
        loop {
            match events.try_recv() {
                Ok(InstanceEvent::Gone(instance)) if instance.workload == *id => exit = instance.last_exit,
                Ok(_) | Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => return Ok(Seen::Stopped(exit)),
            }
        }
    }

    pub(super) fn workload(&self, job: &OpenJob) -> Result<Workload, JobError> {
        let id = job.workload_id();
        let stored = StoredWorkload {
            app: job.job.app,
            id,
            state: WorkloadState::Serving,
            replicas: 1,
            digest: job.digest.clone(),
            sealed_spec: job.sealed_spec.clone(),
        };
        Ok(self.0.rooms.releases.open_workload(&stored)?)
    }
}

/// The next change of a workload's instance; `None` when some were missed.
pub(super) async fn next(events: &mut Receiver<InstanceEvent>, id: &WorkloadId) -> Option<InstanceEvent> {
    loop {
        match events.recv().await {
            Ok(event) => {
                let (InstanceEvent::Changed(instance) | InstanceEvent::Gone(instance)) = &event;
                if instance.workload == *id {
                    return Some(event);
                }
            }
            Err(RecvError::Lagged(_)) => return None,
            // The runtime has ended, and the server with it.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Returns when it is told to; never, if nobody can tell any more.
async fn told_to_stop(stop: &mut watch::Receiver<Stop>) {
    if stop.wait_for(|stop| *stop != Stop::No).await.is_err() {
        std::future::pending().await
    }
}

fn lost() -> Exit {
    Exit { code: LOST, reason: ExitReason::Lost, at: Timestamp::now() }
}

fn told(error: &RuntimeError) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}
