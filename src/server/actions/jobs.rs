//! Jobs: running a command in a fresh replica, looking at what became of it, stopping it.

use std::time::Duration;

use futures_util::{Stream, StreamExt};

use super::ActionError;
use super::access::Action;
use super::apps::Apps;
use super::enter::Entrance;
use crate::api;
use crate::api::job::{JobLogQuery, Run};
use crate::server::domain::{App, Instance, Job, JobCommand, JobId, JobState, LogSource, Size, User};
use crate::server::jobs::{JobError, Jobs, Wish};
use crate::server::logs::format;

/// Jobs that are listed.
const LISTED: u32 = 200;

/// A job that a person attends to.
pub struct Attendance {
    user: User,
    app: App,
    job: Job,
}

impl Attendance {
    /// The job's number.
    pub fn id(&self) -> i64 {
        self.job.id.0
    }

    /// What is to be started there.
    pub fn program(&self) -> Vec<String> {
        Jobs::program(&self.job)
    }

    /// What it is called in records: no more than the program's name, for arguments may be secrets.
    pub fn name(&self) -> &str {
        match &self.job.command {
            JobCommand::Words(words) => words.first().map_or("", String::as_str),
            JobCommand::Line(line) => line.split_whitespace().next().unwrap_or_default(),
        }
    }
}

impl Apps {
    /// Runs a command; returns when it is on its way.
    pub async fn run(&self, user: &User, name: &str, wish: Run) -> Result<api::job::Job, ActionError> {
        let app = self.may(user, name, Action::RunJobs).await?;
        let job = self.rooms.jobs.run(&app, asked(user, wish, false)?).await?;
        self.rooms.logs.platform(&app.name, format!("Job {} started by {}", job.id, user.email));
        self.job(user, name, &job.id.to_string()).await
    }

    /// Whether the person may run jobs at all; a door that cannot say it later asks first.
    pub async fn may_run(&self, user: &User, name: &str) -> Result<(), ActionError> {
        self.may(user, name, Action::RunJobs).await.map(drop)
    }

    /// Makes a job whose program the person will start at a terminal.
    pub async fn attend(&self, user: &User, name: &str, wish: Run) -> Result<Attendance, ActionError> {
        let app = self.may(user, name, Action::RunJobs).await?;
        let job = self.rooms.jobs.run(&app, asked(user, wish, true)?).await?;
        self.rooms.logs.platform(&app.name, format!("Job {} started by {} at a terminal", job.id, user.email));
        Ok(Attendance { user: user.clone(), app, job })
    }

    /// Waits until its replica can be entered.
    pub async fn arrive(&self, attendance: &Attendance) -> Result<Entrance, ActionError> {
        let Attendance { user, app, job } = attendance;
        match self.rooms.jobs.begun(&app.name, job).await? {
            Some(instance) => Ok(Entrance { user: user.clone(), app: app.clone(), instance }),
            None => Err(ActionError::Unavailable(format!(
                "job {0} ended before it began; `gigalixir jobs:info {0}`",
                job.id
            ))),
        }
    }

    /// Its program has ended with that code, or (without one) it is to end for another reason. Returns when the end is
    /// recorded.
    pub async fn depart(&self, attendance: &Attendance, code: Option<i32>) -> Result<(), ActionError> {
        let job = &attendance.job;
        match code {
            Some(code) => self.rooms.jobs.done(job.id, code),
            None => drop(self.rooms.jobs.stop(job.id).await?),
        }
        self.settled(attendance).await
    }

    /// Returns when its end is recorded, which its replica's end brings about.
    pub async fn settled(&self, Attendance { app, job, .. }: &Attendance) -> Result<(), ActionError> {
        Ok(self.rooms.jobs.ended(app.id, job.id).await.map(drop)?)
    }

    /// The newest jobs, newest first.
    pub async fn jobs(&self, user: &User, name: &str) -> Result<Vec<api::job::Job>, ActionError> {
        let app = self.may(user, name, Action::See).await?;
        let instances = self.rooms.deployer.status(&app.name);
        let jobs = self.rooms.store.jobs_of(app.id, LISTED).await?;
        Ok(jobs.into_iter().map(|job| shown(job, &instances)).collect())
    }

    /// One job.
    pub async fn job(&self, user: &User, name: &str, id: &str) -> Result<api::job::Job, ActionError> {
        let app = self.may(user, name, Action::See).await?;
        Ok(shown(self.find_job(&app, id).await?, &self.rooms.deployer.status(&app.name)))
    }

    /// What a job said and, if it is followed, what it says until its end.
    pub async fn job_lines(
        &self,
        user: &User,
        name: &str,
        id: &str,
        query: JobLogQuery,
    ) -> Result<impl Stream<Item = String> + Send + use<>, ActionError> {
        let app = self.may(user, name, Action::See).await?;
        let job = self.find_job(&app, id).await?;
        let wanted = |text: Option<String>| text.is_some_and(|text| text.eq_ignore_ascii_case("true"));
        let (follow, plain) = (wanted(query.follow), wanted(query.plain));
        let lines = self.rooms.jobs.lines(&job, follow).await;
        Ok(lines.filter_map(move |line| {
            let text = match (plain, &line.source) {
                (false, _) => Some(format(&line) + "\n"),
                (true, LogSource::Instance { .. }) => Some(line.text + "\n"),
                (true, _) => None,
            };
            std::future::ready(text)
        }))
    }

    /// Ends a job that waits or runs; returns when that is on its way.
    pub async fn stop_job(&self, user: &User, name: &str, id: &str) -> Result<(), ActionError> {
        let app = self.may(user, name, Action::RunJobs).await?;
        let job = self.find_job(&app, id).await?;
        if !self.rooms.jobs.stop(job.id).await? {
            return Err(ActionError::Conflict(crate::server::domain::Invalid::new("", "the job has ended already")));
        }
        self.rooms.logs.platform(&app.name, format!("Job {} stopped by {}", job.id, user.email));
        Ok(())
    }

    async fn find_job(&self, app: &App, id: &str) -> Result<Job, ActionError> {
        let number = id.parse().map_err(|_| JobError::NotFound)?;
        Ok(self.rooms.store.job(app.id, JobId(number)).await.map_err(JobError::from)?)
    }
}

/// A person's wish.
fn asked(user: &User, wish: Run, attended: bool) -> Result<Wish, ActionError> {
    Ok(Wish {
        command: command(wish.command, wish.module, wish.function)?,
        size: wish.size.map(Size::parse).transpose()?,
        limit: wish.timeout.map(Duration::from_secs),
        env: wish.env,
        attended,
        by: user.email.to_string(),
    })
}

/// 2017 named a function; a release runs it by `eval`, which every kind of release has.
fn command(
    words: Option<Vec<String>>,
    module: Option<String>,
    function: Option<String>,
) -> Result<JobCommand, ActionError> {
    let (module, function) = match (words, module, function) {
        (Some(words), ..) => return Ok(JobCommand::words(words)?),
        (None, Some(module), Some(function)) => (module, function),
        (None, ..) => {
            return Err(ActionError::invalid("command", "can't be blank: a list of a program and its arguments"));
        }
    };
    let word = |text: &str, extra: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || extra.contains(c))
    };
    let module = module.strip_prefix("Elixir.").unwrap_or(&module);
    if !word(module, ".") {
        return Err(ActionError::invalid("module", "should be the name of an Elixir module"));
    }
    if !word(&function, "?!") {
        return Err(ActionError::invalid("function", "should be the name of a function without arguments"));
    }
    let line = format!("gigalixir_run distillery-eval -- 'Elixir.{module}.{function}()'");
    Ok(JobCommand::line(&line)?)
}

pub(super) fn shown(job: Job, instances: &[Instance]) -> api::job::Job {
    let (state, end) = match job.state {
        JobState::Queued => ("queued", None),
        JobState::Running => ("running", None),
        JobState::Ended(end) => ("ended", Some(end)),
    };
    let of_it = |instance: &&Instance| {
        instance.workload.generation == job.id.0 && instance.workload.process.as_str() == job.kind.as_str()
    };
    api::job::Job {
        id: job.id.0,
        kind: job.kind.as_str().into(),
        schedule: job.schedule,
        command: job.command.to_string(),
        version: job.release.0,
        size: job.size.as_f64(),
        timeout: job.limit.as_secs(),
        state: state.into(),
        outcome: end.as_ref().map(|end| end.outcome.as_str().into()),
        exit_code: end.as_ref().and_then(|end| end.code),
        detail: job.detail,
        replica: instances.iter().find(of_it).map(|instance| instance.name.clone()),
        created_by: job.by,
        created_at: job.created_at.to_string(),
        started_at: job.started_at.map(|at| at.to_string()),
        ended_at: end.map(|end| end.at.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_of_2017_are_evaluated_and_nothing_else_gets_in() {
        let of = |module: &str, function: &str| command(None, Some(module.into()), Some(function.into()));
        let line = "gigalixir_run distillery-eval -- 'Elixir.MyApp.Tasks.migrate!()'";
        assert_eq!(of("MyApp.Tasks", "migrate!").unwrap().to_string(), line);
        assert_eq!(of("Elixir.MyApp.Tasks", "migrate!").unwrap().to_string(), line);
        for (module, function) in [("", "a"), ("A", ""), ("A'", "b"), ("A", "b()"), ("A; x", "b"), ("A", "b'")] {
            assert!(of(module, function).is_err(), "{module}.{function}");
        }
        assert!(command(None, Some("A".into()), None).is_err());
        assert!(command(Some(Vec::new()), None, None).is_err());
    }
}
