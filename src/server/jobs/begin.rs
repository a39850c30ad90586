//! Asking for a job: all that can be found wrong is found before the record.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::server::domain::{
    App, ConfigVars, HealthCheck, Invalid, Job, JobCommand, JobId, JobKind, JobState, Lifetime, ReleaseVersion, Size,
    Slug, Workload, WorkloadId,
};
use crate::server::releases::environment;
use crate::server::steps;
use crate::server::store::{NewJob, Seen, StoreError, WorkloadState};

use super::{JobError, Jobs, attended};

/// The line that runs a job's words as they are: programs are looked up in the `PATH`, then in a release's own `bin`.
pub(super) const RUN_WORDS: &str = r#"PATH="$PATH:/app/bin"; exec "$@""#;

/// What shall run.
#[derive(Debug, Clone)]
pub struct Wish {
    /// What.
    pub command: JobCommand,
    /// In how large a replica; the app's own size if not said.
    pub size: Option<Size>,
    /// How long it may; the platform's default if not said.
    pub limit: Option<Duration>,
    /// Over the app's config.
    pub env: BTreeMap<String, String>,
    /// Whether the asker starts the program, at a terminal ([`attended`](super::attended)).
    pub attended: bool,
    /// The address of who asks.
    pub by: String,
}

/// What it runs with.
pub(super) struct Ground<'a> {
    pub(super) version: ReleaseVersion,
    pub(super) slug: &'a Slug,
    pub(super) config: &'a ConfigVars,
}

impl Jobs {
    /// Runs a command with the live release's code and config, or has it wait for its turn.
    pub async fn run(&self, app: &App, wish: Wish) -> Result<Job, JobError> {
        // Checked as config is: names and sizes that an environment can hold.
        ConfigVars::new(wish.env.clone())?;
        let job = self.record(app, JobKind::Run, None, wish, false, None).await?;
        self.choose().await?;
        Ok(job)
    }

    /// Records a job that waits for its turn, and what it says of a schedule.
    #[expect(clippy::too_many_arguments, reason = "they are the columns of one row")]
    pub(super) async fn record(
        &self,
        app: &App,
        kind: JobKind,
        schedule: Option<String>,
        wish: Wish,
        waits: bool,
        seen: Option<(Seen, Vec<NewJob>)>,
    ) -> Result<Job, JobError> {
        let live = self.0.rooms.releases.live(app.id).await?.ok_or(JobError::NoCode)?;
        let slug = live.slug.as_ref().ok_or(JobError::NoCode)?;
        let ground = Ground { version: live.version, slug, config: &live.config };
        let (seen, mut others) = seen.map_or((None, Vec::new()), |(seen, others)| (Some(seen), others));
        let (new, workload) = self.compose(app, kind, schedule, wish, &ground).await?;
        let job = new.job.clone();
        others.push(NewJob { waits, ..new });
        self.0.rooms.output.begin(workload.id.clone(), job.id);
        let queued = self.0.settings.queued;
        if let Err(error) = self.0.rooms.store.add_jobs(app.id, others, queued, seen).await {
            self.0.rooms.output.close(&workload.id);
            return Err(match error {
                StoreError::Full => JobError::Full(queued),
                other => other.into(),
            });
        }
        steps::reached("job.recorded");
        Ok(job)
    }

    /// A job and its workload, with a number of its own.
    pub(super) async fn compose(
        &self,
        app: &App,
        kind: JobKind,
        schedule: Option<String>,
        wish: Wish,
        ground: &Ground<'_>,
    ) -> Result<(NewJob, Workload), JobError> {
        let rooms = &self.0.rooms;
        let limit = self.limit(kind, &wish)?;
        let secrets = rooms.releases.secrets(app.id).await?;
        let mut env = environment::of_replica(
            &app.name,
            &self.0.settings.domain,
            &secrets,
            ground.version,
            ground.slug,
            ground.config,
        );
        env.extend(wish.env);
        let (command, arguments) = match &wish.command {
            _ if wish.attended => (attended::HOST.to_owned(), Vec::new()),
            JobCommand::Words(words) => (RUN_WORDS.to_owned(), words.clone()),
            JobCommand::Line(line) => (line.clone(), Vec::new()),
        };
        let id = rooms.store.next_job_id().await.map_err(|error| match error {
            StoreError::NotFound => JobError::NoCode,
            other => other.into(),
        })?;
        let workload = Workload {
            id: WorkloadId { app: app.name.clone(), process: kind.into(), generation: id.0 },
            release: ground.version,
            replicas: 1,
            slug: ground.slug.digest.clone(),
            stack: ground.slug.stack.clone(),
            command,
            arguments,
            env,
            size: wish.size.unwrap_or(app.formation.size),
            health: HealthCheck::Uptime(Duration::ZERO),
            lifetime: Lifetime::Once { limit },
        };
        let sealed = rooms.releases.seal_workload(app.id, &workload, WorkloadState::Serving)?;
        let job = Job {
            id: JobId(id.0),
            app: app.id,
            kind,
            schedule,
            command: wish.command,
            release: ground.version,
            size: workload.size,
            limit,
            state: JobState::Queued,
            by: wish.by,
            created_at: rooms.clock.now(),
            started_at: None,
            detail: wish.attended.then(|| attended::DETAIL.to_owned()),
            attended: wish.attended,
        };
        let digest = workload.slug.clone();
        Ok((NewJob { job, digest, sealed_spec: Some(sealed.sealed_spec), waits: false }, workload))
    }

    fn limit(&self, kind: JobKind, wish: &Wish) -> Result<Duration, Invalid> {
        let settings = &self.0.settings;
        let default = match kind {
            JobKind::Release => settings.release_limit,
            JobKind::Run if wish.attended => settings.attended_limit,
            JobKind::Run | JobKind::Cron => settings.limit,
            JobKind::Flame => settings.longest,
        };
        self.check_limit(wish.limit).map(|()| wish.limit.unwrap_or(default))
    }

    /// Whether a job may run that long.
    pub fn check_limit(&self, wished: Option<Duration>) -> Result<(), Invalid> {
        let longest = self.0.settings.longest;
        match wished.is_none_or(|wished| !wished.is_zero() && wished <= longest) {
            true => Ok(()),
            false => Err(Invalid::new("timeout", format!("should be 1 to {} (seconds)", longest.as_secs()))),
        }
    }
}
