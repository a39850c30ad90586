//! Runners: replicas that an app asks for by itself, to send work to, and that end when it is done (the FLAME pattern, as its
//! library for Elixir has it: <https://hexdocs.pm/flame>). A runner is a replica of `web` that runs once and that nobody visits:
//! the same code and config, and what the library adds to its environment tells it whom to report to.
//!
//! A runner never waits for its turn, for the app waits for it: where there are enough, another is refused.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::{JobError, Jobs, Wish};
use crate::server::domain::{
    App, ConfigVars, Instance, Invalid, Job, JobCommand, JobEnd, JobKind, JobState, ProcessType, Size,
};

/// What kind of runner is wanted.
#[derive(Debug, Clone)]
pub struct RunnerWish {
    /// Over the app's config.
    pub env: BTreeMap<String, String>,
    /// How large; the app's own size if not said.
    pub size: Option<Size>,
    /// How long it may run; as long as any job if not said.
    pub limit: Option<Duration>,
}

/// A runner that has begun.
#[derive(Debug, Clone)]
pub struct Runner {
    /// Its job.
    pub job: Job,
    /// Its replica.
    pub instance: Instance,
    /// Where those of its app find its Erlang node.
    pub address: IpAddr,
}

impl Jobs {
    /// Makes a runner; returns when it runs. It has not booted by then: it calls the app when it has.
    pub async fn runner(&self, app: &App, wish: RunnerWish) -> Result<Runner, JobError> {
        ConfigVars::new(wish.env.clone())?;
        let job = self.record_runner(app, wish).await?;
        self.choose().await?;
        let Some(instance) = self.begun(&app.name, &job).await? else {
            return Err(JobError::NoRunner(self.why(app, &job).await?));
        };
        let address = instance.node.or(instance.address).map(|address| address.ip());
        let address = address.ok_or_else(|| JobError::NoRunner("its address is not known".to_owned()))?;
        Ok(Runner { job, instance, address })
    }

    async fn record_runner(&self, app: &App, wish: RunnerWish) -> Result<Job, JobError> {
        let wish = Wish {
            command: self.web(app).await?,
            size: wish.size,
            limit: wish.limit,
            env: wish.env,
            attended: false,
            by: app.name.to_string(),
        };
        let _one_at_a_time = self.0.counting.lock().await;
        let open = self.0.rooms.store.open_jobs().await?;
        let runners = open.iter().filter(|open| open.job.app == app.id && open.job.kind == JobKind::Flame).count();
        if runners >= self.0.settings.runners {
            return Err(JobError::Crowded(self.0.settings.runners));
        }
        self.record(app, JobKind::Flame, None, wish, false, None).await
    }

    /// What the live release starts for visitors: only that is a node that the app's others know.
    async fn web(&self, app: &App) -> Result<JobCommand, JobError> {
        let slug = self.0.rooms.releases.live(app.id).await?.and_then(|live| live.slug).ok_or(JobError::NoCode)?;
        let line = slug.processes.get(&ProcessType::web());
        let line = line.ok_or_else(|| Invalid::new("", "the app has no process type `web` to run"))?;
        Ok(JobCommand::line(line)?)
    }

    async fn why(&self, app: &App, job: &Job) -> Result<String, JobError> {
        let job = self.0.rooms.store.job(app.id, job.id).await?;
        Ok(match (job.detail, job.state) {
            (Some(detail), _) => detail,
            (None, JobState::Ended(JobEnd { outcome, .. })) => outcome.as_str().to_owned(),
            (None, _) => "it waits".to_owned(),
        })
    }
}
