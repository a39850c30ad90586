//! Jobs: a command that runs once, in a fresh replica of a release's code and config. A person asks for one, a schedule
//! does, or a deploy (the release phase).
//!
//! Guaranteed: a job is a row before the runtime hears of it, and runs at most once; a server that is killed takes over
//! what runs and records each end once. Its output is kept, bounded, for as long as its record. Of one app so many run
//! at a time and so many wait; more are refused.
//!
//! In reading order: asking ([`begin`]), running ([`attend`]), what it says ([`output`]), those with a person at a terminal
//! ([`attended`]), the release phase ([`release_phase`]), runners that apps ask for themselves ([`flame`]), and time: when
//! runs are due ([`timing`], pure), the one timer ([`alarm`]), what it sets going ([`scheduler`]).
//!
//! Deliberately absent: trying again. A job that failed has failed; its schedule comes again, a person can ask again.

mod alarm;
mod attend;
mod attended;
mod begin;
mod error;
mod flame;
mod output;
mod recover;
mod release_phase;
mod scheduler;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod timing;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::Stream;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::clock::Clock;
use super::domain::{AppId, AppName, Hostname, Job, JobId, LogLine, WorkloadId};
use super::releases::Releases;
use super::runtime::{Lines, Runtime};
use super::store::{Store, StoreError};

pub use begin::Wish;
pub use error::JobError;
pub use flame::{Runner, RunnerWish};
pub use output::Output;
pub use release_phase::Phase;

/// What an operator may choose.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The platform's domain, for the jobs' environment.
    pub domain: Hostname,
    /// How long a job may run that does not say.
    pub limit: Duration,
    /// How long a job at a terminal may run that does not say.
    pub attended_limit: Duration,
    /// How long any job may run.
    pub longest: Duration,
    /// How long a release phase may run.
    pub release_limit: Duration,
    /// Jobs of one app that run at a time.
    pub at_once: usize,
    /// Jobs of one app that wait.
    pub queued: u32,
    /// Runners of one app that there may be at a time.
    pub runners: usize,
    /// Records of ended jobs kept for each app.
    pub kept: u32,
    /// Between SIGTERM and SIGKILL.
    pub grace: Duration,
}

impl Settings {
    /// The defaults, for a domain.
    pub fn new(domain: Hostname) -> Self {
        Self {
            domain,
            limit: Duration::from_mins(5),
            attended_limit: Duration::from_hours(1),
            longest: Duration::from_hours(24),
            release_limit: Duration::from_mins(30),
            at_once: 5,
            queued: 20,
            runners: 10,
            kept: 200,
            grace: Duration::from_secs(30),
        }
    }
}

/// The rooms that jobs work with.
#[derive(Clone)]
pub struct Rooms {
    /// What is remembered.
    pub store: Store,
    /// Code and config.
    pub releases: Releases,
    /// Where they run.
    pub runtime: Arc<dyn Runtime>,
    /// What they say.
    pub output: Output,
    /// The way of every replica's lines into the log.
    pub lines: Lines,
    /// What time it is.
    pub clock: Clock,
}

/// The jobs of all apps. Cheap to clone.
#[derive(Clone)]
pub struct Jobs(Arc<Inner>);

struct Inner {
    rooms: Rooms,
    settings: Settings,
    /// The stop of each that runs.
    running: Mutex<HashMap<JobId, watch::Sender<Stop>>>,
    /// One at a time decides which may start.
    choosing: tokio::sync::Mutex<()>,
    /// One at a time counts runners and records another.
    counting: tokio::sync::Mutex<()>,
    /// Counts ends, for those who wait for one.
    ends: watch::Sender<u64>,
    /// Schedules have changed.
    changed: Notify,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Whether a job that runs is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// Not yet.
    No,
    /// Somebody wants it to.
    Wanted,
    /// Its program has ended with this code, in the hands of who attended to it.
    Done(i32),
}

impl Jobs {
    /// Jobs that nothing is known of yet: [`Self::start`].
    pub fn new(rooms: Rooms, settings: Settings) -> Self {
        Self(Arc::new(Inner {
            rooms,
            settings,
            running: Mutex::default(),
            choosing: tokio::sync::Mutex::default(),
            counting: tokio::sync::Mutex::default(),
            ends: watch::Sender::new(0),
            changed: Notify::new(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }))
    }

    /// What was decided about them.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Whether the workload is a job's that has not ended.
    pub fn knows(&self, id: &WorkloadId) -> bool {
        self.0.rooms.output.knows(id)
    }

    /// What a job said so far, and with `follow` what it says until its end. Each line once.
    pub async fn lines(&self, job: &Job, follow: bool) -> impl Stream<Item = LogLine> + Send + use<> {
        self.0.rooms.output.read(job.id, follow).await
    }

    /// Ends a job that waits or runs; returns when that is on its way. False if it has ended already.
    pub async fn stop(&self, id: JobId) -> Result<bool, JobError> {
        if !self.0.rooms.store.stop_job(id).await? {
            return Ok(false);
        }
        let told = self.running().get(&id).map(|stop| stop.send_replace(Stop::Wanted)).is_some();
        if !told {
            // It waits, or was about to start: whoever decides that next sees that it is not to.
            self.choose_later();
        }
        Ok(true)
    }

    /// Waits until a job has ended, and tells how it is then.
    pub async fn ended(&self, app: AppId, id: JobId) -> Result<Job, JobError> {
        let mut ends = self.0.ends.subscribe();
        loop {
            ends.mark_unchanged();
            let job = self.0.rooms.store.job(app, id).await?;
            if matches!(job.state, super::domain::JobState::Ended(_)) {
                return Ok(job);
            }
            ends.changed().await.map_err(|_| StoreError::Closed)?;
        }
    }

    /// Ends all jobs of an app that is destroyed, and forgets what they said. Its rows go with the app's.
    pub async fn forget_app(&self, app: AppId, name: &AppName) -> Result<(), JobError> {
        let open = self.0.rooms.store.open_jobs().await?;
        for job in open.iter().filter(|job| job.job.app == app) {
            self.stop(job.job.id).await?;
        }
        for job in open.iter().filter(|job| job.job.app == app) {
            let _ = self.ended(app, job.job.id).await;
        }
        tracing::debug!(app.name = %name, "its jobs have ended");
        for job in self.0.rooms.store.jobs_of(app, u32::MAX).await? {
            self.0.rooms.output.forget(job.id).await;
        }
        Ok(())
    }

    /// Leaves what runs to the next server; returns when nothing of this one touches it any more.
    pub async fn close(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Ends all jobs that run, with their apps (`stop_apps_on_exit`), and records it.
    pub async fn end_all(&self) {
        let ids: Vec<_> = self.running().keys().copied().collect();
        let mut ends = self.0.ends.subscribe();
        for id in ids {
            let _ = self.stop(id).await;
        }
        while !self.running().is_empty() && ends.changed().await.is_ok() {}
    }

    /// Returns when all that was heard is on disk.
    pub async fn flush(&self) {
        self.0.rooms.output.flush().await;
    }

    /// Schedules have changed: the timer looks at them anew.
    pub fn schedules_changed(&self) {
        self.0.changed.notify_one();
    }

    fn running(&self) -> MutexGuard<'_, HashMap<JobId, watch::Sender<Stop>>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
