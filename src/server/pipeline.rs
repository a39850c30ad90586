//! The conductor of a push: checkout → slug → release → replicas → ref. The stages do not know each other; what goes
//! from one to the next goes through here.
//!
//! Guaranteed: `Ok` is returned when visitors are on the new release and the ref names its commit. A push that fails
//! before the deploy's commit leaves nothing; one that is cut off after it is finished by [`Pipeline::recover`].

mod told;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use crate::server::builder::{BuildRequest, Builder, BuiltSlug};
use crate::server::deployer::{AppLog, Deploy, DeployError, Deployed, Deployer, messages};
use crate::server::domain::{App, AppName, Push, Slug};
use crate::server::progress::Progress;
use crate::server::receiver::{Checkout, Deploys, Receiver};
use crate::server::releases::{Releases, environment};
use crate::server::slugs::Slugs;
use crate::server::steps;
use crate::server::store::{PushRef, SlugId, Store};

/// The stages, and what they share.
pub struct Stages {
    /// Refs are moved in here.
    pub receiver: Arc<Receiver>,
    /// Makes slugs.
    pub builder: Arc<Builder>,
    /// Keeps them.
    pub slugs: Arc<Slugs>,
    /// Knows the configuration to build with.
    pub releases: Releases,
    /// Makes them run.
    pub deployer: Deployer,
    /// What is remembered.
    pub store: Store,
    /// What the build says goes in here too.
    pub log: Arc<dyn AppLog>,
    /// The folder of all build caches: `APP/STACK`.
    pub caches: PathBuf,
    /// Where a browser finds an app.
    pub address_of: Box<dyn Fn(&AppName) -> String + Send + Sync>,
}

/// The conductor. Cheap to clone.
#[derive(Clone)]
pub struct Pipeline(Arc<Stages>);

impl Pipeline {
    /// Over these stages.
    pub fn new(stages: Stages) -> Self {
        Self(Arc::new(stages))
    }

    /// At the start, before anything else is asked of the deployer: settles what the last server left open, then
    /// follows the runtime. When it returns, the deployer's table is true.
    pub async fn recover(&self) -> Result<(), DeployError> {
        let Stages { receiver, deployer, .. } = &*self.0;
        for cut_off in deployer.recover().await?.refs {
            let PushRef { reference, commit } = &cut_off.push;
            match receiver.move_ref(&cut_off.app, reference, commit).await {
                Ok(()) => deployer.ref_moved(cut_off.operation).await?,
                Err(error) => {
                    tracing::error!(app.name = %cut_off.app, reference, error = %error, "A deployed ref could not be moved; the next start tries again.");
                }
            }
        }
        deployer.start().await
    }

    async fn run(&self, push: &Push, source: Checkout, progress: &Progress) -> Result<(), Failure> {
        let app = self.0.store.app_by_name(&push.app).await.map_err(DeployError::from)?;
        if push.hot {
            let text =
                "hot upgrades are not available yet in this version: push without GIGALIXIR-HOT for a rolling deploy";
            return Err(Failure::Told(text.to_owned()));
        }
        let slug = self.slug(&app, push, &source, progress).await?;
        let outcome = self.deploy_slug(&app, push, slug, source, progress).await;
        if outcome.is_err() {
            // If no release came of it: one push of an app at a time, so the slug is nobody else's.
            let _ = self.0.store.forget_unreleased_slugs(Some(app.id)).await;
        }
        let deployed = outcome?;
        self.move_ref(push, &deployed).await?;
        self.congratulate(&app, &deployed, progress).await;
        self.sweep_later();
        Ok(())
    }

    async fn slug(
        &self,
        app: &App,
        push: &Push,
        source: &Checkout,
        progress: &Progress,
    ) -> Result<(SlugId, Slug), Failure> {
        let Stages { releases, slugs, store, .. } = &*self.0;
        progress.line("-----> Setting environment variables").await;
        let secrets = releases.secrets(app.id).await.map_err(DeployError::from)?;
        let config = releases.config(app.id).await.map_err(DeployError::from)?;
        progress.line(format!("-----> Cloning into '{}'", app.name)).await;
        let request = BuildRequest {
            app: app.name.clone(),
            sha: push.commit.clone(),
            source: source.path().to_owned(),
            cache: self.0.caches.join(app.name.as_str()).join(app.stack.as_str()),
            env: environment::of_build(&app.name, &secrets, &push.commit, &config),
            stack: app.stack.clone(),
            clean: push.clean,
        };
        progress.line("-----> Compiling code and generating slug").await;
        let built = self.build(app, request, progress).await?;
        let slug = slug_of(app, push, &built);
        // Remembered before it is stored, so that no sweep takes it for one that nobody needs.
        let id = store.record_slug(app.id, slug.clone()).await.map_err(DeployError::from)?;
        if let Err(error) = slugs.put(&slug.digest, &built.archive).await {
            let _ = store.forget_unreleased_slugs(Some(app.id)).await;
            return Err(Failure::ours("storing the slug", &error));
        }
        steps::reached("slug.stored");
        Ok((id, slug))
    }

    async fn build(&self, app: &App, request: BuildRequest, progress: &Progress) -> Result<BuiltSlug, Failure> {
        let (inner, listener) = Progress::channel();
        let build = async {
            let outcome = self.0.builder.build(request, &inner).await;
            // What listens ends when nobody can speak any more.
            drop(inner);
            outcome
        };
        let (outcome, ()) =
            tokio::join!(build, told::pass_on(listener, progress, |line| self.0.log.build(&app.name, line)));
        // The builder has told the pusher at length.
        outcome.map_err(|error| Failure::Told(error.to_string()))
    }

    async fn deploy_slug(
        &self,
        app: &App,
        push: &Push,
        slug: (SlugId, Slug),
        source: Checkout,
        progress: &Progress,
    ) -> Result<Deployed, Failure> {
        if !slug.1.processes.keys().any(|process| process.is_web()) {
            let names: Vec<_> = slug.1.processes.keys().map(|process| process.as_str()).collect();
            let text = "-----> There is no `web` process, so nothing is served. Start the others with";
            progress.line(format!("{text} `gigalixir ps:scale {}=1 -a {}`.", names.join("=1 "), app.name)).await;
        }
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
        };
        let deployed = self.0.deployer.deploy(deploy, progress).await;
        if let Err(error) = &deployed {
            progress.bytes(format!("\n{}", messages::explain(error)).into()).await;
        }
        Ok(deployed?)
    }

    /// The receiver moves it too, and finds it moved; done here, the operation ends only after the ref has moved.
    async fn move_ref(&self, push: &Push, deployed: &Deployed) -> Result<(), Failure> {
        let moved = self.0.receiver.move_ref(&push.app, &push.reference, &push.commit).await;
        moved.map_err(|error| Failure::ours("moving the ref of a release that is live", &error))?;
        Ok(self.0.deployer.ref_moved(deployed.operation).await?)
    }

    async fn congratulate(&self, app: &App, deployed: &Deployed, progress: &Progress) {
        let (name, address) = (&app.name, (self.0.address_of)(&app.name));
        let text = format!(
            "\nRelease {} is live. Try these:\n    curl {address}\n    gigalixir logs -a {name}\n    gigalixir ps -a {name}\n",
            deployed.version
        );
        progress.bytes(text.into()).await;
    }

    /// Old slugs go in the background, after what made them old.
    fn sweep_later(&self) {
        let this = self.clone();
        tokio::spawn(async move {
            let swept = match this.0.releases.keep_set().await {
                Ok(keep) => this.0.slugs.sweep(&keep).await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            match swept {
                Ok(0) => {}
                Ok(count) => tracing::info!(count, "Swept slugs that no release needs."),
                Err(error) => tracing::warn!(error, "Old slugs could not be swept; the next deploy tries again."),
            }
        });
    }
}

#[async_trait]
impl Deploys for Pipeline {
    async fn deploy(&self, push: Push, source: Checkout, progress: &Progress) -> Result<(), String> {
        tracing::info!(app.name = %push.app, commit = push.commit, by = %push.by, "Deploying a push.");
        let outcome = self.run(&push, source, progress).await;
        if let Err(failure) = &outcome {
            tracing::info!(app.name = %push.app, commit = push.commit, reason = failure.reason(), "A push was refused.");
            progress.line("\nDeploy aborted.").await;
        }
        outcome.map_err(|failure| failure.reason().to_owned())
    }
}

fn slug_of(app: &App, push: &Push, built: &BuiltSlug) -> Slug {
    Slug {
        digest: built.digest.clone(),
        size: built.size,
        sha: push.commit.clone(),
        stack: app.stack.clone(),
        kind: built.kind,
        processes: built.processes.clone(),
        customer_app_name: built.customer_app_name.clone(),
        customer_app_version: built.customer_app_version.clone(),
        capabilities: built.capabilities.clone(),
    }
}

/// Why a push was refused: one line for git's report.
enum Failure {
    /// The pusher's to mend.
    Told(String),
    /// Ours; the log has the details.
    Ours(String),
}

impl Failure {
    fn ours(doing: &str, error: &dyn std::error::Error) -> Self {
        let causes: Vec<_> =
            std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect();
        tracing::error!(error = causes.join(": "), "{doing} failed");
        Self::Ours(format!("the server failed {doing}; its log says more"))
    }

    fn reason(&self) -> &str {
        let (Self::Told(reason) | Self::Ours(reason)) = self;
        reason
    }
}

impl From<DeployError> for Failure {
    fn from(error: DeployError) -> Self {
        match &error {
            DeployError::Runtime(_) | DeployError::Store(_) | DeployError::Source(_) => Self::ours("deploying", &error),
            _ => Self::Told(error.to_string()),
        }
    }
}
