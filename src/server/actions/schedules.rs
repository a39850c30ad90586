//! Schedules: commands that run again and again.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

use super::ActionError;
use super::access::Action;
use super::apps::Apps;
use super::jobs::shown;
use crate::api;
use crate::api::job::AddSchedule;
use crate::server::domain::{App, JobCommand, Overlap, Schedule, ScheduleId, SchedulePlan, Size, User};
use crate::server::jobs::timing::Timing;
use crate::server::store::StoreError;

impl Apps {
    /// Every schedule, by name.
    pub async fn schedules(&self, user: &User, name: &str) -> Result<Vec<api::job::Schedule>, ActionError> {
        let app = self.may(user, name, Action::See).await?;
        self.shown_schedules(&app).await
    }

    /// Makes a schedule; its first run is the next one due.
    pub async fn add_schedule(
        &self,
        user: &User,
        name: &str,
        wish: AddSchedule,
    ) -> Result<api::job::Schedule, ActionError> {
        let app = self.may(user, name, Action::RunJobs).await?;
        let tz = wish.tz.unwrap_or_else(|| "UTC".to_owned());
        let timing = Timing::parse(&wish.schedule, &tz)?;
        if timing.next_after(Timestamp::now()).is_none() {
            return Err(ActionError::invalid("schedule", "is never due"));
        }
        let limit = wish.timeout.map(Duration::from_secs);
        self.rooms.jobs.check_limit(limit)?;
        let called = match wish.name {
            Some(called) => {
                SchedulePlan::check_name(&called)?;
                called
            }
            None => self.free_name(&app).await?,
        };
        let plan = SchedulePlan {
            name: called.clone(),
            cron: wish.schedule,
            tz,
            command: JobCommand::words(wish.command)?,
            overlap: wish.overlap.as_deref().map(Overlap::parse).transpose()?.unwrap_or_default(),
            catch_up: wish.catch_up,
        };
        let schedule = Schedule {
            id: ScheduleId(0),
            app: app.id,
            plan,
            size: wish.size.map(Size::parse).transpose()?,
            limit,
            of_code: false,
            by: user.email.to_string(),
            seen_until: Timestamp::now(),
            missed: 0,
        };
        let most = self.settings.schedules_per_app;
        self.rooms.store.add_schedule(schedule, most).await.map_err(|error| match error {
            StoreError::Taken => ActionError::invalid("name", "has already been taken"),
            StoreError::Full => ActionError::invalid(
                "",
                format!("the app has {most} schedules, as many as are allowed: remove one first"),
            ),
            other => other.into(),
        })?;
        self.rooms.jobs.schedules_changed();
        let made = self.shown_schedules(&app).await?.into_iter().find(|schedule| schedule.name == called);
        made.ok_or_else(|| unknown(&called))
    }

    /// Removes a schedule. What runs of it runs on.
    pub async fn remove_schedule(&self, user: &User, name: &str, schedule: &str) -> Result<(), ActionError> {
        let app = self.may(user, name, Action::RunJobs).await?;
        let found = self.rooms.store.schedules_of(app.id).await?.into_iter().find(|found| found.plan.name == schedule);
        let found = found.ok_or_else(|| unknown(schedule))?;
        if found.of_code {
            let text = format!("the schedule {schedule} comes with the code: take it out of app.json and push");
            return Err(ActionError::invalid("", text));
        }
        self.rooms.store.remove_schedule(app.id, schedule.to_owned(), user.email.to_string()).await?;
        self.rooms.jobs.schedules_changed();
        Ok(())
    }

    async fn shown_schedules(&self, app: &App) -> Result<Vec<api::job::Schedule>, ActionError> {
        let instances = self.rooms.deployer.status(&app.name);
        let last = self.rooms.store.last_scheduled_jobs(app.id).await?;
        let mut last: HashMap<String, api::job::Job> =
            last.into_iter().filter_map(|job| Some((job.schedule.clone()?, shown(job, &instances)))).collect();
        let one = |schedule: Schedule| {
            let timing = Timing::parse(&schedule.plan.cron, &schedule.plan.tz).ok();
            let next = timing.and_then(|timing| timing.next_after(Timestamp::now().max(schedule.seen_until)));
            api::job::Schedule {
                last: last.remove(&schedule.plan.name),
                name: schedule.plan.name,
                schedule: schedule.plan.cron,
                tz: schedule.plan.tz,
                command: schedule.plan.command.to_string(),
                overlap: schedule.plan.overlap.as_str().into(),
                catch_up: schedule.plan.catch_up,
                source: if schedule.of_code { "app.json" } else { "person" }.into(),
                next_at: next.map(|at| at.to_string()),
                missed: schedule.missed,
                created_by: schedule.by,
            }
        };
        Ok(self.rooms.store.schedules_of(app.id).await?.into_iter().map(one).collect())
    }

    /// `schedule-1`, `schedule-2` …
    async fn free_name(&self, app: &App) -> Result<String, ActionError> {
        let taken = self.rooms.store.schedules_of(app.id).await?;
        let mut names = (1..).map(|number| format!("schedule-{number}"));
        let free = names.find(|name| taken.iter().all(|schedule| schedule.plan.name != *name));
        free.ok_or_else(|| ActionError::internal("no name is free"))
    }
}

fn unknown(name: &str) -> ActionError {
    ActionError::NotFound(format!(
        "there is no schedule `{}`; `gigalixir jobs:schedules` lists them",
        name.escape_debug()
    ))
}
