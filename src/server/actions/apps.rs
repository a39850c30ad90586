//! Apps: making, listing and describing them. The verbs of their parts are in files of their own (`ps.rs`, `config.rs`,
//! `domains.rs`, …), all of them methods of [`Apps`], all of them beginning with [`Apps::may`]
//! (`access.rs`), which knows who may do what.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use url::Url;

use super::access::Action;
use super::destroy::Leaving;
use super::stacks::StackImages;
use super::{ActionError, Crowd};
use crate::api::{self, app::CreateApp};
use crate::server::clock::Clock;
use crate::server::config::SshAddress;
use crate::server::deployer::Deployer;
use crate::server::domain::{App, AppName, Formation, Hostname, Price, ProcessType, Slug, Stack, User, UserId};
use crate::server::drains::Drains;
use crate::server::gauges::Gauges;
use crate::server::hot::Plans;
use crate::server::jobs::Jobs;
use crate::server::logs::Logs;
use crate::server::nodes::Nodes;
use crate::server::releases::{ReleaseError, Releases};
use crate::server::slugs::Slugs;
use crate::server::store::{Glance, Store, StoreError};
use crate::server::tls::Tls;

/// How often a generated name may turn out to be taken.
const TRIES: usize = 20;

/// What an app has on disk beside its slugs and logs: its git repository and its build cache.
#[async_trait]
pub trait Repositories: Send + Sync + 'static {
    /// Makes an empty repository. One that is there already stays as it is.
    async fn create(&self, app: &AppName) -> io::Result<()>;
    /// Deletes the repository and the build cache. None there is no error.
    async fn remove(&self, app: &AppName) -> io::Result<()>;
    /// Whose repositories and build caches there are.
    async fn list(&self) -> io::Result<Vec<AppName>>;
}

/// What the operator has decided about apps.
#[derive(Debug, Clone)]
pub struct AppSettings {
    /// Apps that one account may have.
    pub per_account: usize,
    /// Custom domains that one app may have.
    pub domains_per_app: usize,
    /// People who may have a role in one app, beside its owner.
    pub people_per_app: usize,
    /// Log drains that one app may have.
    pub drains_per_app: usize,
    /// Visits over the API that one account may make at once.
    pub sessions_per_account: usize,
    /// Schedules that one app may have, beside those of its code.
    pub schedules_per_app: u32,
    /// Where they run, as clients are told: `local`, `docker` or `kubernetes`.
    pub cloud: &'static str,
    /// The stack of apps that do not say, and all that can be built on, it included.
    pub stacks: (Stack, Vec<Stack>),
    /// Apps are `APP.DOMAIN`.
    pub domain: Hostname,
    /// As browsers reach `DOMAIN`; an app's URL has its name in front of the host.
    pub app_url: Url,
    /// Below it are the repositories, `APP.git`.
    pub git_url: Url,
    /// Where ssh clients reach the platform.
    pub ssh: SshAddress,
    /// The API's own address: signed slug addresses are below it.
    pub api_url: Url,
    /// How long one is good for.
    pub slug_url_life: Duration,
    /// What use costs.
    pub billing: Billing,
    /// With it an ingress may ask about hosts.
    pub default_backend_key: Option<SecretString>,
    /// With it whoever collects metrics sees those of all apps.
    pub metrics_key: Option<SecretString>,
}

/// What use costs.
#[derive(Debug, Clone, Default)]
pub struct Billing {
    /// Of a replica-size-second.
    pub price: Price,
    /// As invoices name it.
    pub currency: String,
}

/// The rooms that an app's verbs reach into.
pub struct Rooms {
    /// What is remembered.
    pub store: Store,
    /// What apps take.
    pub gauges: Gauges,
    /// Releases, unsealed.
    pub releases: Releases,
    /// Puts new beside old.
    pub deployer: Deployer,
    /// One-off and scheduled jobs.
    pub jobs: Jobs,
    /// What replicas, builds and the platform say.
    pub logs: Logs,
    /// Where the logs are sent besides.
    pub drains: Drains,
    /// Certificates.
    pub tls: Tls,
    /// Erlang nodes, as they see each other.
    pub nodes: Nodes,
    /// How running releases become each other.
    pub plans: Plans,
    /// What was pushed.
    pub repositories: Arc<dyn Repositories>,
    /// Built apps.
    pub slugs: Arc<Slugs>,
    /// What stacks stand for.
    pub images: Arc<dyn StackImages>,
    /// What time it is, and how much has passed.
    pub clock: Clock,
}

/// What a signed-in person may do with apps.
pub struct Apps {
    pub(super) rooms: Rooms,
    pub(super) settings: AppSettings,
    /// One at a time, so that two requests cannot pass the limit together.
    creating: tokio::sync::Mutex<()>,
    pub(super) leaving: Leaving,
    pub(super) visits: Crowd<UserId>,
}

impl Apps {
    /// Over these rooms.
    pub fn new(rooms: Rooms, settings: AppSettings) -> Self {
        let visits = Crowd::new(settings.sessions_per_account);
        Self { rooms, settings, creating: Default::default(), leaving: Leaving::default(), visits }
    }

    /// Makes an app, with a pleasant name if none is given; to the end even if the asker goes away.
    pub async fn create(self: &Arc<Self>, user: &User, wish: CreateApp) -> Result<api::app::App, ActionError> {
        let (apps, user) = (self.clone(), user.clone());
        let work = tokio::spawn(async move { apps.make(&user, wish).await });
        work.await.map_err(ActionError::internal)?
    }

    async fn make(&self, user: &User, wish: CreateApp) -> Result<api::app::App, ActionError> {
        let stack = wish.stack.as_deref().map_or(Ok(self.settings.stacks.0.clone()), |text| self.stack(text))?;
        let _one_at_a_time = self.creating.lock().await;
        if self.rooms.store.apps_of(user.id).await?.len() >= self.settings.per_account {
            let text =
                format!("you have {} apps, as many as are allowed: destroy one first", self.settings.per_account);
            return Err(ActionError::invalid("", text));
        }
        let app = match wish.unique_name {
            Some(name) => self.create_named(user, AppName::parse(&name.to_lowercase())?, &stack).await?,
            None => self.create_anyhow(user, &stack).await?,
        };
        if let Err(error) = self.furnish(&app.name).await {
            self.rooms.store.delete_app(app.id).await?;
            return Err(ActionError::internal(error));
        }
        self.rooms.deployer.app_created(&app);
        self.rooms.logs.platform(&app.name, format!("App created by {}", user.email));
        tracing::info!(app.name = %app.name, user.email = %user.email, "app created");
        self.describe(app).await
    }

    /// Nothing of an earlier app of that name may be seen in this one.
    async fn furnish(&self, app: &AppName) -> io::Result<()> {
        self.rooms.logs.remove(app).await;
        self.rooms.repositories.remove(app).await?;
        self.rooms.repositories.create(app).await
    }

    async fn create_named(&self, user: &User, name: AppName, stack: &Stack) -> Result<App, ActionError> {
        self.take_name(user, name, stack)
            .await?
            .ok_or_else(|| ActionError::invalid("unique_name", "has already been taken"))
    }

    async fn create_anyhow(&self, user: &User, stack: &Stack) -> Result<App, ActionError> {
        for _ in 0..TRIES {
            let name = petname::petname(2, "-").ok_or_else(|| ActionError::internal("no words for a name"))?;
            if let Some(app) = self.take_name(user, AppName::parse(&name)?, stack).await? {
                return Ok(app);
            }
        }
        Err(ActionError::Unavailable("no free name was found: give one".into()))
    }

    /// `None` if it is taken.
    async fn take_name(&self, user: &User, name: AppName, stack: &Stack) -> Result<Option<App>, ActionError> {
        if self.leaving.contains(&name) {
            return Ok(None);
        }
        match self.rooms.releases.create_app(user.id, name, stack.clone()).await {
            Ok(app) => Ok(Some(app)),
            Err(ReleaseError::Store(StoreError::Taken)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The apps that the person owns or has a role in, by name.
    pub async fn list(&self, user: &User) -> Result<Vec<api::app::App>, ActionError> {
        let glances = self.rooms.store.glances_open_to(user.id).await?;
        Ok(glances.into_iter().map(|glance| self.shown(glance)).collect())
    }

    /// One app.
    pub async fn info(&self, user: &User, name: &str) -> Result<api::app::App, ActionError> {
        self.describe(self.may(user, name, Action::See).await?).await
    }

    /// Always refused: a name is part of a host name, of a git remote and of cluster names in running replicas.
    pub async fn rename(&self, user: &User, name: &str) -> Result<(), ActionError> {
        let app = self.may(user, name, Action::Rename).await?;
        let text =
            format!("cannot be changed: `{}` is part of addresses and node names; create a new app instead", app.name);
        Err(ActionError::invalid("unique_name", text))
    }

    pub(super) async fn describe(&self, app: App) -> Result<api::app::App, ActionError> {
        Ok(self.shown(self.rooms.store.glance(app).await?))
    }

    fn shown(&self, Glance { app, newest, live }: Glance) -> api::app::App {
        api::app::App {
            size: app.formation.size.as_f64(),
            size_m: app.formation.size.milli(),
            replicas: app.formation.replicas_of(&ProcessType::web()),
            formation: counts(&app.formation, live.as_ref()),
            cloud: self.settings.cloud.into(),
            region: self.settings.domain.to_string(),
            stack: app.stack.to_string(),
            maintenance: app.maintenance,
            version: newest.map_or(0, |version| version.0),
            url: self.url(&app.name),
            git_url: format!("{}/{}.git", self.settings.git_url.as_str().trim_end_matches('/'), app.name),
            created_at: app.created_at.to_string(),
            unique_name: app.name.into(),
        }
    }

    /// The code that is meant to run.
    pub(super) async fn live_slug(&self, app: &App) -> Result<Option<Slug>, ActionError> {
        Ok(self.rooms.store.live_slug(app.id).await?)
    }

    pub(super) fn url(&self, app: &AppName) -> String {
        let mut url = self.settings.app_url.clone();
        let host = format!("{app}.{}", url.host_str().unwrap_or(self.settings.domain.as_str()));
        // A host that cannot stand in front of a label is an address: then the domain is the only name there is.
        if url.set_host(Some(&host)).is_err() {
            return format!("http://{}/", Hostname::of_app(app, &self.settings.domain));
        }
        url.into()
    }
}

/// Wished replicas of each process type there is: those of the live code, `web` before there is any.
pub(super) fn counts(formation: &Formation, live: Option<&Slug>) -> BTreeMap<String, u32> {
    let count = |process: &ProcessType| (process.to_string(), formation.replicas_of(process));
    match live {
        Some(slug) => slug.services().map(|(process, _)| count(process)).collect(),
        None => formation.replicas.keys().chain([&ProcessType::web()]).map(count).collect(),
    }
}
