//! Apps' logs on their way to other machines: one worker per drain, from the app's log to an HTTP or syslog receiver.
//!
//! Invariants: a drain never slows an app (it reads the log as `logs` does, from a bounded queue of its own); every line
//! is sent at least once, unless the other side is so slow that the queue runs over, which both sides are told with the
//! number of lines; a restart of the server goes on where the last one was. Over syslog a line counts as taken when the
//! kernel has it: the protocol knows no answer.
//!
//! The server talks to whom a person names, so it talks to the internet only, unless the operator allows more: checked
//! at every connection, not when the name is first seen.

mod frame;
mod sink;
mod target;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rustls::ClientConfig;
use rustls_platform_verifier::ConfigVerifierExt as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use self::sink::Sink;
use self::target::Reach;
use self::worker::{SoFar, Tally, Worker};
use super::domain::{App, AppId, AppName, Invalid};
use super::logs::{Logs, Position};
use super::seal::Sealer;
use super::store::{Store, StoreError, StoredDrain};

pub use target::Target;

/// How long a name may take to be looked up when a drain is made.
const LOOKUP: Duration = Duration::from_secs(3);

/// What the operator has decided about drains.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Drains of one app.
    pub per_app: usize,
    /// Whether they may lead to this machine and to private networks.
    pub private: bool,
    /// How they go about it.
    pub pace: Pace,
}

/// How a drain goes about it.
#[derive(Debug, Clone)]
pub struct Pace {
    /// The pause after a first failure; each further one doubles it.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
    /// How often progress is written down.
    pub write_down: Duration,
    /// How often an app is told of a drain's trouble, at most.
    pub tell: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { first: Duration::from_millis(500), longest: seconds(60), write_down: seconds(5), tell: seconds(60) }
    }
}

/// Why there is no such drain, or none can be made.
#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    /// The address cannot be one.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The database's refusal.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored address does not open, or TLS cannot be set up here.
    #[error("{0}")]
    Broken(String),
}

/// A drain as it is shown.
#[derive(Debug, Clone)]
pub struct Drain {
    /// Its number.
    pub id: i64,
    /// Names it to the other side.
    pub token: String,
    /// Where it leads.
    pub target: Target,
    /// Lines taken by the other side.
    pub delivered: u64,
    /// Lines that were not sent, or refused.
    pub dropped: u64,
    /// What went wrong last, and when.
    pub last_error: Option<(String, Timestamp)>,
}

/// The drains of all apps; cheap to clone.
#[derive(Clone)]
pub struct Drains(Arc<Inner>);

struct Inner {
    store: Store,
    sealer: Arc<Sealer>,
    logs: Logs,
    settings: Settings,
    tls: Arc<ClientConfig>,
    working: Mutex<HashMap<i64, Working>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

struct Working {
    app: AppId,
    tally: Arc<Mutex<Tally>>,
    stop: CancellationToken,
}

impl Drains {
    /// Takes up the work of all drains there are, trusting whom this machine trusts.
    pub async fn start(store: Store, sealer: Arc<Sealer>, logs: Logs, settings: Settings) -> Result<Self, DrainError> {
        // Another one was installed before: then that is the one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let tls = ClientConfig::with_platform_verifier().map_err(|error| DrainError::Broken(error.to_string()))?;
        Self::trusting(tls, store, sealer, logs, settings).await
    }

    async fn trusting(
        tls: ClientConfig,
        store: Store,
        sealer: Arc<Sealer>,
        logs: Logs,
        settings: Settings,
    ) -> Result<Self, DrainError> {
        let (working, tasks, stop) = (Mutex::default(), TaskTracker::new(), CancellationToken::new());
        let inner = Inner { store, sealer, logs, settings, tls: Arc::new(tls), working, tasks, stop };
        let drains = Self(Arc::new(inner));
        for (app, stored) in drains.0.store.all_drains().await? {
            match drains.open(&stored) {
                Ok(target) => drains.work(app, &stored, target)?,
                Err(error) => tracing::error!(app.name = %app, %error, "A drain cannot be taken up."),
            }
        }
        Ok(drains)
    }

    /// The app's drains, oldest first.
    pub async fn list(&self, app: AppId) -> Result<Vec<Drain>, DrainError> {
        let mut list = Vec::new();
        for stored in self.0.store.drains_of(app).await? {
            let target = self.open(&stored)?;
            let live = self.working().get(&stored.id).map(|working| lock(&working.tally).clone());
            let Tally { delivered, dropped, last_error } = live.unwrap_or_else(|| tally_of(&stored));
            list.push(Drain { id: stored.id, token: stored.token, target, delivered, dropped, last_error });
        }
        Ok(list)
    }

    /// Makes a drain for what the app says from now on. [`StoreError::Full`] if it has as many as it may.
    pub async fn add(&self, app: &App, url: &str, by: String) -> Result<Drain, DrainError> {
        let target = Target::parse(url)?;
        // A name that cannot be looked up now may be known later, and is checked then.
        let looked_up = tokio::time::timeout(LOOKUP, self.reach().addresses(&target)).await;
        if let Ok(Err(why)) = looked_up
            && why == target::PRIVATE
        {
            return Err(Invalid::new("url", why).into());
        }
        let token = format!("d.{}", Uuid::new_v4());
        let sealed = self.0.sealer.seal(&context(&token), target.as_str().as_bytes());
        let Position { segment, place } = self.0.logs.end(&app.name).await.unwrap_or_default();
        let (per_app, shown) = (self.0.settings.per_app, target.to_string());
        let stored = self.0.store.add_drain(app.id, token, sealed, (segment, place), (per_app, shown, by)).await?;
        self.work(app.name.clone(), &stored, target.clone())?;
        let StoredDrain { id, token, .. } = stored;
        Ok(Drain { id, token, target, delivered: 0, dropped: 0, last_error: None })
    }

    /// Ends a drain. [`StoreError::NotFound`] if the app has none of that number.
    pub async fn remove(&self, app: &App, id: i64, by: String) -> Result<(), DrainError> {
        let stored = self.0.store.drains_of(app.id).await?.into_iter().find(|stored| stored.id == id);
        let shown = self.open(&stored.ok_or(StoreError::NotFound)?).map_or_else(|_| "?".to_owned(), |t| t.to_string());
        self.0.store.remove_drain(app.id, id, shown, by).await?;
        if let Some(working) = self.working().remove(&id) {
            working.stop.cancel();
        }
        Ok(())
    }

    /// Ends the work for an app that is no more.
    pub fn forget(&self, app: AppId) {
        self.working().retain(|_, working| {
            let stays = working.app != app;
            if !stays {
                working.stop.cancel();
            }
            stays
        });
    }

    /// Ends all work; what was not sent is sent by the next server.
    pub async fn close(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    fn work(&self, app: AppName, stored: &StoredDrain, target: Target) -> Result<(), DrainError> {
        let Inner { store, logs, settings, tls, .. } = &*self.0;
        let carrier = target.carrier;
        let sink = Sink::new(target, stored.token.clone(), tls, self.reach());
        let at = Position { segment: stored.position.0, place: stored.position.1 };
        let tally = Arc::new(Mutex::new(tally_of(stored)));
        let stop = self.0.stop.child_token();
        let worker = Worker {
            id: stored.id,
            carrier,
            feed: logs.feed(&app, at),
            sink: sink.map_err(|error| DrainError::Broken(error.to_string()))?,
            tally: tally.clone(),
            store: store.clone(),
            logs: logs.clone(),
            pace: settings.pace.clone(),
            stop: stop.clone(),
            so_far: SoFar::at(at, &settings.pace),
            app,
        };
        self.working().insert(stored.id, Working { app: stored.app, tally, stop });
        self.0.tasks.spawn(worker.run());
        Ok(())
    }

    fn open(&self, stored: &StoredDrain) -> Result<Target, DrainError> {
        let broken = || DrainError::Broken(format!("the address of drain {} does not open", stored.id));
        let plain = self.0.sealer.unseal(&context(&stored.token), &stored.sealed_url).map_err(|_| broken())?;
        Ok(Target::parse(&String::from_utf8(plain).map_err(|_| broken())?)?)
    }

    fn reach(&self) -> Reach {
        Reach { private: self.0.settings.private }
    }

    fn working(&self) -> MutexGuard<'_, HashMap<i64, Working>> {
        lock(&self.0.working)
    }
}

fn tally_of(stored: &StoredDrain) -> Tally {
    let StoredDrain { delivered, dropped, last_error, .. } = stored.clone();
    Tally { delivered, dropped, last_error }
}

/// The token is random and never used again, so it names the row.
fn context(token: &str) -> String {
    format!("drain/{token}/url")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
