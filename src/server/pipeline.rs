//! The conductor of a push: checkout → build → slug → release → deploy → ref. Each stage is another room's; here is
//! their order, and what the pusher and the app's log read between them.
//!
//! Guaranteed: the ref moves after the deploy was committed and never without; a server killed in between moves it at
//! its next start ([`Pipeline::recover`]).

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::builder::{BuildRequest, Builder, BuiltSlug};
use super::deployer::{AppLog, Deploy, DeployError, Deployed, Deployer, Hot, Understudy, messages};
use super::domain::{App, AppName, Push, Slug, SlugKind};
use super::hot::Plans;
use super::jobs::timing::Timing;
use super::progress::Progress;
use super::receiver::{Checkout, Deploys, Receiver};
use super::releases::{Releases, environment};
use super::slugs::Slugs;
use super::steps;
use super::store::{PushRef, SlugId, Store};

/// Bytes of a line of a build's output; the log has no longer ones.
const LINE: usize = 64 << 10;

/// The stages.
pub struct Rooms {
    /// What is remembered.
    pub store: Store,
    /// Config and secrets.
    pub releases: Releases,
    /// Source → slug.
    pub builder: Builder,
    /// Where slugs are kept.
    pub slugs: Arc<Slugs>,
    /// How running releases become each other.
    pub plans: Plans,
    /// Release → replicas.
    pub deployer: Deployer,
    /// The repositories.
    pub receiver: Arc<Receiver>,
    /// The apps' logs.
    pub log: Arc<dyn AppLog>,
    /// `APP/STACK` below it is a build cache.
    pub caches: PathBuf,
    /// Where a browser finds an app.
    pub address: Box<dyn Fn(&AppName) -> String + Send + Sync>,
}

/// Makes what was pushed run.
pub struct Pipeline(Rooms);

/// Why a push did not become a release.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The pusher has been told at length.
    #[error("{0}")]
    Told(String),
    /// The platform's own fault; the cause is for the log.
    #[error("internal error: {0}")]
    Internal(Box<dyn std::error::Error + Send + Sync>),
}

impl Failure {
    fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(cause.into())
    }
}

#[async_trait]
impl Deploys for Pipeline {
    async fn deploy(&self, push: Push, source: Checkout, progress: &Progress) -> Result<(), String> {
        match self.run(&push, source, progress).await {
            Ok(()) => Ok(()),
            Err(failure) => {
                if let Failure::Internal(cause) = &failure {
                    tracing::error!(app.name = %push.app, commit = push.commit, error = %cause, "A push failed.");
                }
                progress.line("Deploy aborted").await;
                self.0.log.platform(&push.app, format!("Deploy of {} aborted: {failure}", short(&push.commit)));
                Err(failure.to_string())
            }
        }
    }
}

impl Pipeline {
    /// Over these rooms.
    pub fn new(rooms: Rooms) -> Self {
        Self(rooms)
    }

    /// Settles what the last server left open; before [`Deployer::start`].
    pub async fn recover(&self) -> Result<(), DeployError> {
        for left in self.0.deployer.recover().await?.refs {
            let PushRef { reference, commit } = &left.push;
            match self.0.receiver.move_ref(&left.app, reference, commit).await {
                Ok(()) => self.0.deployer.ref_moved(left.operation).await?,
                Err(error) => {
                    tracing::error!(app.name = %left.app, reference, commit, error = %error, "A ref could not be moved; the next start tries again.");
                }
            }
        }
        self.sweep().await;
        Ok(())
    }

    async fn run(&self, push: &Push, source: Checkout, progress: &Progress) -> Result<(), Failure> {
        let app = self.0.store.app_by_name(&push.app).await.map_err(Failure::internal)?;
        self.0.log.platform(&app.name, format!("Deploy of {} started by {}", short(&push.commit), push.by));
        let understudy = self.understudy(&app, push).await?;
        let slug = self.slug(&app, push, &source, progress).await?;
        let hot = match self.hot(&app, push, (&slug.1, understudy), progress).await {
            Ok(hot) => hot,
            Err(failure) => {
                self.forget_slug(&app).await;
                return Err(failure);
            }
        };
        let deployed = match self.deploy_slug(&app, push, (slug, hot), source, progress).await {
            Ok(deployed) => deployed,
            Err(failure) => {
                self.forget_slug(&app).await;
                return Err(failure);
            }
        };
        self.0.receiver.move_ref(&app.name, &push.reference, &push.commit).await.map_err(Failure::internal)?;
        self.0.deployer.ref_moved(deployed.operation).await.map_err(Failure::internal)?;
        self.sweep_later();
        self.congratulate(&app, deployed, progress).await;
        Ok(())
    }

    async fn slug(
        &self,
        app: &App,
        push: &Push,
        source: &Checkout,
        progress: &Progress,
    ) -> Result<(SlugId, Slug), Failure> {
        progress.line("Setting environment variables").await;
        let config = self.0.releases.config(app.id).await.map_err(Failure::internal)?;
        let secrets = self.0.releases.secrets(app.id).await.map_err(Failure::internal)?;
        let request = BuildRequest {
            app: app.name.clone(),
            sha: push.commit.clone(),
            source: source.path().to_owned(),
            cache: self.0.caches.join(app.name.as_str()).join(app.stack.as_str()),
            env: environment::of_build(&app.name, &secrets, &push.commit, &config),
            stack: app.stack.clone(),
            clean: push.clean,
        };
        progress.line("Compiling code and generating slug").await;
        let overheard = progress.overheard(ear(self.0.log.clone(), app.name.clone()));
        let built = self.0.builder.build(request, &overheard).await;
        let built = built.map_err(|error| Failure::Told(error.to_string()))?;
        self.check_schedules(&built, progress).await?;
        self.keep(app, push, built).await
    }

    /// Patterns of `app.json` that nobody could keep are found before anything is recorded.
    async fn check_schedules(&self, built: &BuiltSlug, progress: &Progress) -> Result<(), Failure> {
        for plan in &built.schedules {
            if let Err(invalid) = Timing::parse(&plan.cron, &plan.tz) {
                let text = format!("{}: {invalid}", plan.name);
                progress.line(&text).await;
                let archive = built.archive.clone();
                tokio::task::spawn_blocking(move || drop(std::fs::remove_file(archive)));
                return Err(Failure::Told(text));
            }
        }
        Ok(())
    }

    async fn keep(&self, app: &App, push: &Push, built: BuiltSlug) -> Result<(SlugId, Slug), Failure> {
        let slug = Slug {
            digest: built.digest.clone(),
            size: built.size,
            sha: push.commit.clone(),
            stack: app.stack.clone(),
            kind: built.kind,
            processes: built.processes,
            customer_app_name: built.customer_app_name,
            customer_app_version: built.customer_app_version,
            capabilities: built.capabilities,
            schedules: built.schedules,
        };
        // Remembered before it is stored: no sweep takes it for one that nobody needs.
        let id = self.0.store.record_slug(app.id, slug.clone()).await.map_err(Failure::internal)?;
        if let Err(error) = self.0.slugs.put(&built.digest, &built.archive).await {
            self.forget_slug(app).await;
            return Err(Failure::internal(error));
        }
        steps::reached("slug.stored");
        Ok((id, slug))
    }

    /// Somewhere to rehearse, which is there when what was pushed is built.
    async fn understudy(&self, app: &App, push: &Push) -> Result<Option<Understudy>, Failure> {
        let live = self.0.store.live_slug(app.id).await.map_err(Failure::internal)?;
        let of_use = push.hot && live.is_some_and(|live| live.kind == SlugKind::Release);
        Ok(of_use.then(|| self.0.deployer.understudy(app.id)))
    }

    /// How what was pushed comes to running nodes, if it was pushed so and something runs.
    async fn hot(
        &self,
        app: &App,
        push: &Push,
        (new, understudy): (&Slug, Option<Understudy>),
        progress: &Progress,
    ) -> Result<Option<Hot>, Failure> {
        if !push.hot {
            return Ok(None);
        }
        let live = self.0.store.live_slug(app.id).await.map_err(Failure::internal)?;
        let Some(old) = live else {
            progress.line("Nothing runs yet that could be upgraded: this is an ordinary deploy.").await;
            return Ok(None);
        };
        progress.line("Comparing what was built with what runs").await;
        match self.0.plans.forth(&old, new, progress).await {
            Ok(plan) => {
                for note in &plan.notes {
                    progress.line(format!("Note: {note}.")).await;
                }
                Ok(Some(Hot { plan, old: old.digest, or_restart: push.or_restart, understudy }))
            }
            Err(error) => {
                progress.line(&error).await;
                Err(Failure::Told(error.to_string()))
            }
        }
    }

    async fn deploy_slug(
        &self,
        app: &App,
        push: &Push,
        (slug, hot): ((SlugId, Slug), Option<Hot>),
        source: Checkout,
        progress: &Progress,
    ) -> Result<Deployed, Failure> {
        self.tell_of_no_web(app, &slug.1, progress).await;
        // Only what is healthy is kept in the repository; only what is kept there can be committed.
        let promote = async move {
            let kept = source.promote().await.map_err(|error| format!("the pushed objects could not be kept: {error}"));
            // A large tree takes its time to delete.
            tokio::task::spawn_blocking(move || drop(source));
            kept
        };
        let deploy = Deploy {
            app: app.id,
            slug,
            by: push.by.to_string(),
            push: Some(PushRef { reference: push.reference.clone(), commit: push.commit.clone() }),
            before_commit: Some(Box::pin(promote)),
            hot,
        };
        match self.0.deployer.deploy(deploy, progress).await {
            Ok(deployed) => Ok(deployed),
            Err(error) => {
                progress.bytes(messages::explain(&error).into()).await;
                Err(Failure::Told(error.to_string()))
            }
        }
    }

    /// Visitors are led to `web` and to nothing else; other process types begin with no replicas.
    async fn tell_of_no_web(&self, app: &App, slug: &Slug, progress: &Progress) {
        if !slug.services().any(|(process, _)| process.is_web()) {
            let counts: Vec<_> = slug.services().map(|(process, _)| format!("{process}=1")).collect();
            let text = "There is no `web` process, so nothing is served. Start the others:";
            progress.line(format!("{text} `gigalixir ps:scale {} -a {}`.", counts.join(" "), app.name)).await;
        }
    }

    /// If no release came of it. One push of an app is at work at a time, so it is nobody else's.
    async fn forget_slug(&self, app: &App) {
        if let Err(error) = self.0.store.forget_unreleased_slugs(Some(app.id)).await {
            tracing::warn!(app.name = %app.name, error = %error, "A slug stays until the next start.");
        }
    }

    async fn congratulate(&self, app: &App, deployed: Deployed, progress: &Progress) {
        let name = &app.name;
        let (version, address) = (deployed.version, (self.0.address)(name));
        let text = format!(
            "Deployed {name} {version}. Try:\n    curl {address}\n    gigalixir logs -a {name}\n    gigalixir ps -a {name}"
        );
        progress.line(text).await;
    }

    fn sweep_later(&self) {
        let (releases, slugs) = (self.0.releases.clone(), self.0.slugs.clone());
        tokio::spawn(async move { sweep(&releases, &slugs).await });
    }

    async fn sweep(&self) {
        sweep(&self.0.releases, &self.0.slugs).await;
    }
}

/// Deletes the archives that no release within the limit and no replica needs.
async fn sweep(releases: &Releases, slugs: &Slugs) {
    let keep = match releases.keep_set().await {
        Ok(keep) => keep,
        Err(error) => return tracing::error!(error = %error, "Old slugs could not be told from needed ones."),
    };
    match slugs.sweep(&keep).await {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "Swept old slugs."),
        Err(error) => tracing::error!(error = %error, "Old slugs could not be swept."),
    }
}

/// Writes a build's output into the app's log, line by line; of one that does not end, what there is.
fn ear(log: Arc<dyn AppLog>, app: AppName) -> super::progress::Ear {
    let begun = Mutex::new(Vec::new());
    Arc::new(move |chunk| {
        let mut begun = begun.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            begun.extend_from_slice(piece);
            if piece.ends_with(b"\n") || begun.len() >= LINE {
                log.build(&app, String::from_utf8_lossy(&begun).trim_end().to_owned());
                begun.clear();
            }
        }
    })
}

fn short(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::joints::AppLogs;
    use crate::server::logs::{LogFilter, LogLimits, Logs};

    #[tokio::test]
    async fn a_build_that_ends_no_line_is_told_in_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let logs = Logs::open(folder.path(), LogLimits::default()).unwrap();
        let app = AppName::parse("hill").unwrap();
        let hear = ear(Arc::new(AppLogs(logs.clone())), app.clone());
        hear(b"one\ntw");
        hear(b"o\n");
        for _ in 0..3 * LINE / 4096 {
            hear(&[b'x'; 4096]);
        }
        hear(b"the end\n");
        let told = logs.tail(&app, 100, LogFilter::all()).await;
        let lengths: Vec<_> = told.iter().map(|line| line.text.len()).collect();
        assert_eq!(lengths, [3, 3, LINE, LINE, LINE, 7]);
    }
}
