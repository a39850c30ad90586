//! Releases: code + config + formation + who + when + why, numbered and immutable. The app's configuration *is* its live
//! release's; there is no second place where it could differ.
//!
//! What is secret is opened and sealed here and nowhere else. Making a release live is not here: that is the commit of
//! an operation, the deployer's work.

pub mod environment;
mod keep;
mod secrets;

use std::sync::Arc;

use uuid::Uuid;

use crate::server::domain::{
    App, AppId, AppName, ConfigVars, Formation, Release, ReleaseState, ReleaseVersion, Slug, Stack, UserId, Workload,
    WorkloadId,
};
use crate::server::store::{
    Kind, NewRelease, Operation, PushRef, SlugId, Store, StoreError, StoredRelease, StoredWorkload, WorkloadState,
};

pub use keep::Keep;
pub use secrets::AppSecrets;

/// What seals the secrets at rest; the context makes a value useless in any other place.
pub trait Seals: Send + Sync + 'static {
    /// Seals `plain`.
    fn seal(&self, context: &str, plain: &[u8]) -> Vec<u8>;
    /// Opens what was sealed in the same context; `None` if it was not, or not with this key.
    fn unseal(&self, context: &str, sealed: &[u8]) -> Option<Vec<u8>>;
}

/// The releases of all apps.
#[derive(Clone)]
pub struct Releases {
    store: Store,
    seals: Arc<dyn Seals>,
    keep: Keep,
}

/// What a new release is to be made of.
#[derive(Debug, Clone)]
pub struct Blueprint {
    /// The code; `None` before the first push.
    pub slug: Option<(SlugId, Slug)>,
    /// The configuration.
    pub config: ConfigVars,
    /// The formation.
    pub formation: Formation,
    /// What makes it, one line.
    pub summary: String,
}

/// Which release to go back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The newest one that was live before the present one and has code.
    Previous,
    /// By number.
    Version(ReleaseVersion),
    /// By its other name.
    Id(Uuid),
}

impl Target {
    /// From a path segment: a number (`3`, `v3`) or a rollback id.
    pub fn parse(text: &str) -> Option<Self> {
        let number = text.strip_prefix('v').unwrap_or(text);
        match number.parse() {
            Ok(number) => Some(Self::Version(ReleaseVersion(number))),
            Err(_) => Uuid::parse_str(text).ok().map(Self::Id),
        }
    }
}

impl Releases {
    /// Over the store, with what seals its secrets.
    pub fn new(store: Store, seals: Arc<dyn Seals>, keep: Keep) -> Self {
        Self { store, seals, keep }
    }

    /// Makes an app with secrets of its own.
    pub async fn create_app(&self, owner: UserId, name: AppName, stack: Stack) -> Result<App, ReleaseError> {
        let plain = to_bytes(&AppSecrets::generate())?;
        let seals = self.seals.clone();
        let seal = move |id| seals.seal(&secrets_context(id), &plain);
        Ok(self.store.create_app(owner, name, stack, seal).await?)
    }

    /// The app's own secrets.
    pub async fn secrets(&self, app: AppId) -> Result<AppSecrets, ReleaseError> {
        let sealed = self.store.app_secrets(app).await?;
        self.open(&secrets_context(app), &sealed)
    }

    /// Another Erlang cookie, for replicas that are made from now on.
    pub async fn rotate_cookie(&self, app: AppId, by: String) -> Result<(), ReleaseError> {
        let secrets = self.secrets(app).await?.with_new_cookie();
        let sealed = self.seals.seal(&secrets_context(app), &to_bytes(&secrets)?);
        Ok(self.store.set_cookie(app, sealed, by).await?)
    }

    /// Every release of an app, newest first.
    pub async fn list(&self, app: AppId) -> Result<Vec<Release>, ReleaseError> {
        self.store.releases_of(app).await?.into_iter().map(|stored| self.release(stored)).collect()
    }

    /// The release that is meant to run.
    pub async fn live(&self, app: AppId) -> Result<Option<Release>, ReleaseError> {
        self.store.live_release(app).await?.map(|stored| self.release(stored)).transpose()
    }

    /// The app's configuration: the live release's, empty before the first.
    pub async fn config(&self, app: AppId) -> Result<ConfigVars, ReleaseError> {
        Ok(self.live(app).await?.map(|release| release.config).unwrap_or_default())
    }

    /// What the live release is made of, with the formation of now: the ground for every change.
    pub async fn blueprint(&self, app: &App) -> Result<Blueprint, ReleaseError> {
        let formation = app.formation.clone();
        match self.store.live_release(app.id).await? {
            Some(stored) => Ok(Blueprint { formation, ..self.blueprint_of(stored)? }),
            None => Ok(Blueprint { slug: None, config: ConfigVars::default(), formation, summary: String::new() }),
        }
    }

    /// What an older release last ran with, as the ground for a rollback; and its number.
    pub async fn restore(&self, app: AppId, target: Target) -> Result<(ReleaseVersion, Blueprint), ReleaseError> {
        let stored = self.find(app, target).await?;
        let version = stored.version;
        let Some((_, slug)) = &stored.slug else { return Err(ReleaseError::NoCode(version)) };
        if !self.keep_set().await?.contains(&slug.digest) {
            return Err(ReleaseError::Swept(version));
        }
        Ok((version, self.blueprint_of(stored)?))
    }

    async fn find(&self, app: AppId, target: Target) -> Result<StoredRelease, ReleaseError> {
        let found = match target {
            Target::Version(version) => self.store.release(app, version).await,
            Target::Id(id) => self.store.release_by_rollback_id(app, id).await,
            Target::Previous => return self.previous(app).await,
        };
        found.map_err(|error| match error {
            StoreError::NotFound => ReleaseError::NoSuchRelease,
            other => other.into(),
        })
    }

    async fn previous(&self, app: AppId) -> Result<StoredRelease, ReleaseError> {
        let all = self.store.releases_of(app).await?;
        let was_live = |release: &StoredRelease| release.state == ReleaseState::Superseded && release.slug.is_some();
        all.into_iter().find(was_live).ok_or(ReleaseError::NothingBefore)
    }

    /// Begins an operation that makes a release of `blueprint`.
    pub async fn begin(
        &self,
        app: AppId,
        kind: Kind,
        by: &str,
        push: Option<PushRef>,
        blueprint: &Blueprint,
    ) -> Result<Operation, ReleaseError> {
        let plain = to_bytes(&blueprint.config)?;
        let new = NewRelease {
            slug: blueprint.slug.as_ref().map(|(id, _)| *id),
            formation: blueprint.formation.clone(),
            summary: blueprint.summary.clone(),
        };
        let seals = self.seals.clone();
        let seal = move |version| seals.seal(&config_context(app, version), &plain);
        Ok(self.store.begin(app, kind, by.to_owned(), push, Some((new, seal))).await?)
    }

    /// Begins an operation that makes no release.
    pub async fn begin_without_release(&self, app: AppId, kind: Kind, by: &str) -> Result<Operation, ReleaseError> {
        let none = None::<(NewRelease, fn(ReleaseVersion) -> Vec<u8>)>;
        Ok(self.store.begin(app, kind, by.to_owned(), None, none).await?)
    }

    /// A wish as it goes into the store.
    pub fn seal_workload(
        &self,
        app: AppId,
        workload: &Workload,
        state: WorkloadState,
    ) -> Result<StoredWorkload, ReleaseError> {
        Ok(StoredWorkload {
            app,
            id: workload.id.clone(),
            state,
            replicas: workload.replicas,
            digest: workload.slug.clone(),
            sealed_spec: self.seals.seal(&workload_context(app, &workload.id), &to_bytes(workload)?),
        })
    }

    /// A wish as it came from the store, with the replicas it has now.
    pub fn open_workload(&self, stored: &StoredWorkload) -> Result<Workload, ReleaseError> {
        let workload = self.open(&workload_context(stored.app, &stored.id), &stored.sealed_spec)?;
        Ok(Workload { replicas: stored.replicas, ..workload })
    }

    fn release(&self, stored: StoredRelease) -> Result<Release, ReleaseError> {
        let config = self.open(&config_context(stored.app, stored.version), &stored.sealed_config)?;
        Ok(stored.with_config(config))
    }

    fn blueprint_of(&self, stored: StoredRelease) -> Result<Blueprint, ReleaseError> {
        let config = self.open(&config_context(stored.app, stored.version), &stored.sealed_config)?;
        Ok(Blueprint { slug: stored.slug, config, formation: stored.formation, summary: stored.summary })
    }

    fn open<T: serde::de::DeserializeOwned>(&self, context: &str, sealed: &[u8]) -> Result<T, ReleaseError> {
        let plain = self.seals.unseal(context, sealed).ok_or_else(|| ReleaseError::Sealed(context.to_owned()))?;
        serde_json::from_slice(&plain).map_err(|_| ReleaseError::Sealed(context.to_owned()))
    }
}

fn to_bytes<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, ReleaseError> {
    serde_json::to_vec(value).map_err(|error| StoreError::Io(error.to_string()).into())
}

fn secrets_context(app: AppId) -> String {
    format!("app/{}/secrets", app.0)
}

fn config_context(app: AppId, version: ReleaseVersion) -> String {
    format!("app/{}/release/{}/config", app.0, version.0)
}

fn workload_context(app: AppId, id: &WorkloadId) -> String {
    format!("app/{}/workload/{}/{}", app.0, id.process, id.generation)
}

/// Why there is no such release, or why it cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The app has none of that number or name.
    #[error("there is no such release; `gigalixir releases` lists them")]
    NoSuchRelease,
    /// No release with code was live before the present one.
    #[error("there is no earlier release to go back to")]
    NothingBefore,
    /// It was made before the first push.
    #[error("release {0} has no code: it was made before the first push")]
    NoCode(ReleaseVersion),
    /// Too old.
    #[error("the code of release {0} is no longer kept: push its commit again")]
    Swept(ReleaseVersion),
    /// The key file is not the one it was sealed with, or the database is damaged.
    #[error("`{0}` cannot be unsealed: the key file does not belong to this database")]
    Sealed(String),
    /// The database's refusal.
    #[error(transparent)]
    Store(#[from] StoreError),
}
