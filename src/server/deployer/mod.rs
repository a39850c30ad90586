//! New beside old → healthy → commit → swap → drain → stop. A failure anywhere before the commit leaves the old release
//! serving, untouched; after it, whatever is left to do is in the database and is done, if need be by the next server.
//!
//! In reading order: what a person may ask for ([`changes`], [`scaling`], [`destroy`]), what that comes down to
//! ([`plan`], [`wishes`]), how it is carried out ([`rollout`], [`health`], [`retire`]), how reality is held to the
//! database ([`reconcile`], [`recovery`]), and what visitors see of it ([`fleet`], [`routes`], [`front`]).
//!
//! A release may also be brought to running nodes ([`upgrade`]): then nothing is put beside anything.

mod changes;
mod destroy;
mod error;
mod fleet;
mod front;
mod health;
pub mod messages;
mod plan;
mod ports;
mod queue;
mod reconcile;
mod recovery;
mod retire;
mod rollout;
mod routes;
mod scaling;
#[cfg(test)]
mod tests;
mod upgrade;
mod wishes;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::server::domain::{App, AppId, AppName, Hostname, Instance, RouteTable};
use crate::server::hot::Plans;
use crate::server::jobs::Jobs;
use crate::server::progress::Progress;
use crate::server::releases::Releases;
use crate::server::runtime::Runtime;
use crate::server::store::Store;

pub use changes::{BeforeCommit, Deploy, Deployed, Effect, RollbackBy};
pub use error::{DeployError, PhaseFailure};
pub use health::{FailedCheck, RolloutFailure};
pub use ports::{AppLog, Drains};
pub use recovery::{Recovered, RefToMove};
pub use upgrade::{Hot, Understudy, UpgradeFailure};
pub use wishes::{HEALTH_PATH, HEALTH_TIMEOUT};

use fleet::Fleet;
use queue::Queue;

/// What an operator may choose.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The platform's domain: apps are `APP.DOMAIN`.
    pub domain: Hostname,
    /// How long all new replicas together may take to become healthy, unless the app says otherwise.
    pub health_timeout: Duration,
    /// How long a process without a port must have run to count as healthy.
    pub uptime: Duration,
    /// How long visitors of an old replica may take to finish.
    pub drain: Duration,
    /// How long a replica may take to end after SIGTERM.
    pub grace: Duration,
    /// How many apps are changed at a time.
    pub parallel: usize,
    /// How often the runtime is told again what should be.
    pub reconcile: Duration,
    /// Bytes that the names and values of an app's variables together may have.
    pub config_bytes: usize,
}

impl Settings {
    /// The defaults, for a domain.
    pub fn new(domain: Hostname) -> Self {
        Self {
            domain,
            health_timeout: Duration::from_secs(60),
            uptime: Duration::from_secs(1),
            drain: Duration::from_secs(30),
            grace: Duration::from_secs(30),
            parallel: 8,
            reconcile: Duration::from_secs(60),
            config_bytes: 32 * 1024,
        }
    }
}

/// The rooms a deployer works with.
#[derive(Clone)]
pub struct Rooms {
    /// What is remembered.
    pub store: Store,
    /// The numbered releases.
    pub releases: Releases,
    /// Where apps run.
    pub runtime: Arc<dyn Runtime>,
    /// The router's counters.
    pub drains: Arc<dyn Drains>,
    /// The apps' logs.
    pub log: Arc<dyn AppLog>,
    /// One-off, scheduled and release-phase jobs.
    pub jobs: Jobs,
    /// How running releases become each other.
    pub plans: Plans,
}

/// Makes releases run. Cheap to clone.
#[derive(Clone)]
pub struct Deployer(Arc<Inner>);

struct Inner {
    rooms: Rooms,
    settings: Settings,
    fleet: Fleet,
    queue: Queue,
    fronts: tokio::sync::Mutex<()>,
    stop: CancellationToken,
    operations: TaskTracker,
}

impl Deployer {
    /// A deployer that knows nothing yet: [`Self::recover`], then [`Self::start`].
    pub fn new(rooms: Rooms, settings: Settings) -> Self {
        Self(Arc::new(Inner {
            rooms,
            fleet: Fleet::new(settings.domain.clone()),
            queue: Queue::new(settings.parallel),
            fronts: tokio::sync::Mutex::default(),
            settings,
            stop: CancellationToken::new(),
            operations: TaskTracker::new(),
        }))
    }

    /// Where visitors are led, now and whenever that changes.
    pub fn routes(&self) -> watch::Receiver<Arc<RouteTable>> {
        self.0.fleet.routes()
    }

    /// Makes a new app known, so that its visitors read that nothing is deployed yet instead of that it does not exist.
    pub fn app_created(&self, app: &App) {
        self.0.fleet.add_app(app.id, &app.name, false);
    }

    /// Every replica of the app, by process and index.
    pub fn status(&self, app: &AppName) -> Vec<Instance> {
        self.0.fleet.instances(app)
    }

    /// The app's ready replicas of serving generations: those that others of the app may count on.
    pub fn ready(&self, app: &AppName) -> Vec<Instance> {
        self.0.fleet.ready(app)
    }

    /// Who of [`Self::ready`] may be an Erlang node, with what their environment has for cookies, the likeliest first.
    pub fn nodes(&self, app: &AppName) -> Vec<(Instance, Vec<String>)> {
        self.with_cookies(app, self.ready(app))
    }

    /// Those of the instances that may be Erlang nodes, with the cookies.
    fn with_cookies(&self, app: &AppName, instances: Vec<Instance>) -> Vec<(Instance, Vec<String>)> {
        let serving = self.0.fleet.serving(app);
        let cookies = |instance: &Instance| {
            let of = serving.iter().find(|workload| workload.id == instance.workload);
            let names = ["RELEASE_COOKIE", "MY_COOKIE", "ERLANG_COOKIE"];
            let mut cookies: Vec<String> = names.iter().filter_map(|name| of?.env.get(*name).cloned()).collect();
            cookies.dedup();
            cookies
        };
        let nodes = instances.into_iter().filter(|instance| instance.node.is_some());
        nodes.map(|instance| (instance.clone(), cookies(&instance))).collect()
    }

    /// Where the replicas are, for those who enter one.
    pub fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.0.rooms.runtime
    }

    /// Waits for the operations under way (bound it), then ends the background work. What is cut off goes on with the
    /// next server; apps run on.
    pub async fn close(&self) {
        self.0.operations.close();
        self.0.operations.wait().await;
        self.0.stop.cancel();
    }

    /// Ends every replica; after [`Self::close`]. What should be stays as it is: the next server starts them anew.
    pub async fn stop_apps(&self) {
        let rooms = &self.0.rooms;
        let all = match rooms.store.all_workloads().await {
            Ok(all) => all,
            Err(error) => return tracing::error!(error = %error, "The apps could not be listed to be stopped."),
        };
        let ends = all.iter().map(|stored| rooms.runtime.remove(&stored.id, self.0.settings.grace));
        for error in futures_util::future::join_all(ends).await.into_iter().filter_map(Result::err) {
            tracing::error!(error = %error, "A replica could not be stopped.");
        }
    }

    /// Runs `work` when it is the app's turn, to its end even if the caller goes away.
    async fn in_turn<T, F, Fut>(&self, app: AppId, progress: &Progress, work: F) -> Result<T, DeployError>
    where
        T: Send + 'static,
        F: FnOnce(Self, App) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, DeployError>> + Send,
    {
        let turn = self.0.queue.turn(app, progress).await?;
        let this = self.clone();
        let task = self.0.operations.spawn(async move {
            let _turn = turn;
            let app = this.0.rooms.store.app_by_id(app).await?;
            work(this, app).await
        });
        task.await.map_err(|_| DeployError::Interrupted)?
    }
}
