//! What is due, set going: one task that sleeps until the next due time of all schedules, and is woken by changes of
//! schedules and of the clock. What it does about a schedule, and up to when that was, is one transaction: no run is lost
//! or doubled by a server that is killed.

use jiff::Timestamp;

use crate::server::domain::{
    App, Job, JobEnd, JobKind, JobState, Outcome, Overlap, ReleaseVersion, Schedule, SlugDigest,
};
use crate::server::store::{NewJob, Seen, StoreError};

use super::alarm::Alarm;
use super::timing::{Due, Timing, seen_or_set_back};
use super::{JobError, Jobs, Wish};

/// After an error nothing better is known than to look again.
const AFTER_AN_ERROR: jiff::SignedDuration = jiff::SignedDuration::from_secs(30);

impl Jobs {
    /// Begins to keep time.
    pub(super) fn keep_time(&self) {
        let this = self.clone();
        self.0.tasks.spawn(async move {
            let kept = tokio::select! {
                kept = this.keep_time_for_ever() => kept,
                () = this.0.stop.cancelled() => return,
            };
            if let Err(error) = kept {
                tracing::error!(error = %error, "There is no timer, so no scheduled job will run.");
            }
        });
    }

    async fn keep_time_for_ever(&self) -> std::io::Result<()> {
        let alarm = Alarm::new()?;
        loop {
            let now = self.0.rooms.clock.now();
            let next = match self.set_going(now).await {
                Ok(next) => next,
                Err(error) => {
                    tracing::error!(error = %error, "Schedules could not be looked at; they will be again.");
                    now.checked_add(AFTER_AN_ERROR).ok()
                }
            };
            tokio::select! {
                rung = alarm.until(next.unwrap_or(Timestamp::MAX)) => rung?,
                () = self.0.changed.notified() => {}
            }
        }
    }

    /// Sets going what is due, and tells when something will be next.
    pub(super) async fn set_going(&self, now: Timestamp) -> Result<Option<Timestamp>, JobError> {
        let mut next = None;
        for schedule in self.0.rooms.store.all_schedules().await? {
            let Ok(timing) = Timing::parse(&schedule.plan.cron, &schedule.plan.tz) else { continue };
            let Some(seen) = seen_or_set_back(schedule.seen_until, now) else {
                self.0.rooms.store.reset_schedule(schedule.id, now).await?;
                next = earlier(next, timing.next_after(now));
                continue;
            };
            let due = timing.due(seen, now);
            if due != Due::default()
                && let Err(error) = self.deal_with(&schedule, due, now).await
            {
                tracing::error!(schedule = schedule.plan.name, error = %error, "A scheduled job could not be set going.");
            }
            next = earlier(next, timing.next_after(now.max(seen)));
        }
        self.choose().await?;
        Ok(next)
    }

    /// Records what was missed and, if one runs, its job.
    async fn deal_with(&self, schedule: &Schedule, due: Due, now: Timestamp) -> Result<(), JobError> {
        let app = self.0.rooms.store.app_by_id(schedule.app).await?;
        let live = self.0.rooms.store.live_release(app.id).await?;
        let code = live.and_then(|release| release.slug.map(|(_, slug)| (release.version, slug.digest)));
        let until = due.run.into_iter().chain(due.missed.map(|(.., last)| last)).max().unwrap_or(now).max(now);
        let seen = Seen { schedule: schedule.id, until, missed: due.missed.map_or(0, |(count, ..)| count) };
        let Some(code) = code else {
            // An app without code has nothing to run, and nothing to miss.
            return Ok(self.0.rooms.store.add_jobs(app.id, Vec::new(), u32::MAX, Some(seen)).await?);
        };
        let mut others = Vec::new();
        if let Some((count, first, last)) = due.missed {
            let detail = match count {
                1 => format!("due {first}, while the server was not there"),
                _ => format!("{count} runs, due {first} to {last}, while the server was not there"),
            };
            others.push(self.unrun(&app, schedule, &code, Outcome::Missed, detail).await?);
        }
        let wanted = due.run.or(due.missed.filter(|_| schedule.plan.catch_up).map(|(.., last)| last));
        let Some(wanted) = wanted else {
            return Ok(self.0.rooms.store.add_jobs(app.id, others, u32::MAX, Some(seen)).await?);
        };
        let (running, waiting) = self.open_of(schedule).await?;
        let left_out = match schedule.plan.overlap {
            Overlap::Skip => running || waiting,
            Overlap::Queue => waiting,
            Overlap::Allow => false,
        };
        if left_out {
            let detail = format!("due {wanted}, while the run before had not ended");
            others.push(self.unrun(&app, schedule, &code, Outcome::Skipped, detail).await?);
            return Ok(self.0.rooms.store.add_jobs(app.id, others, u32::MAX, Some(seen)).await?);
        }
        self.begin_scheduled(&app, schedule, (seen, others), &code, wanted).await
    }

    async fn begin_scheduled(
        &self,
        app: &App,
        schedule: &Schedule,
        (seen, others): (Seen, Vec<NewJob>),
        code: &(ReleaseVersion, SlugDigest),
        wanted: Timestamp,
    ) -> Result<(), JobError> {
        let wish = Wish {
            command: schedule.plan.command.clone(),
            size: schedule.size,
            limit: schedule.limit,
            env: Default::default(),
            attended: false,
            by: schedule.by.clone(),
        };
        let waits = schedule.plan.overlap == Overlap::Queue;
        let name = Some(schedule.plan.name.clone());
        match self.record(app, JobKind::Cron, name, wish, waits, Some((seen, others.clone()))).await {
            Ok(_) => Ok(()),
            Err(JobError::Full(queued)) => {
                let detail = format!("due {wanted}, while {queued} jobs of the app waited, as many as may");
                let mut others = others;
                others.push(self.unrun(app, schedule, code, Outcome::Skipped, detail).await?);
                Ok(self.0.rooms.store.add_jobs(app.id, others, u32::MAX, Some(seen)).await?)
            }
            Err(error) => Err(error),
        }
    }

    /// The record of a run that does not come to be.
    async fn unrun(
        &self,
        app: &App,
        schedule: &Schedule,
        (release, digest): &(ReleaseVersion, SlugDigest),
        outcome: Outcome,
        detail: String,
    ) -> Result<NewJob, StoreError> {
        let now = self.0.rooms.clock.now();
        let job = Job {
            id: self.0.rooms.store.next_job_id().await?,
            app: app.id,
            kind: JobKind::Cron,
            schedule: Some(schedule.plan.name.clone()),
            command: schedule.plan.command.clone(),
            release: *release,
            size: schedule.size.unwrap_or(app.formation.size),
            limit: schedule.limit.unwrap_or(self.0.settings.limit),
            state: JobState::Ended(JobEnd::without_run(outcome, now)),
            by: schedule.by.clone(),
            created_at: now,
            started_at: None,
            detail: Some(detail),
            attended: false,
        };
        Ok(NewJob { job, digest: digest.clone(), sealed_spec: None, waits: false })
    }

    /// Whether a job of the schedule runs, and whether one waits.
    async fn open_of(&self, schedule: &Schedule) -> Result<(bool, bool), JobError> {
        let open = self.0.rooms.store.open_jobs().await?;
        let of = |state: JobState| {
            let name = Some(&schedule.plan.name);
            open.iter()
                .any(|job| job.job.app == schedule.app && job.job.schedule.as_ref() == name && job.job.state == state)
        };
        Ok((of(JobState::Running), of(JobState::Queued)))
    }
}

fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}
