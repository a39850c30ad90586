//! Erlang nodes, as they see each other: which replica is which node, whom it is connected to, and what is wrong.
//!
//! Nothing in an app is needed for it: each ready replica of a serving generation is asked for its `nodes()`, by
//! [`beam`](super::beam), a few milliseconds each. It is asked when replicas come and go, when somebody looks (`ps`), and
//! rarely otherwise; apps without a node are left alone until their replicas change.
//!
//! What is wrong is told, in the app's log and in its activity, when it has lasted as long as a cluster library needs to
//! look again a few times; and again when it is over. Replicas that never were connected are no cluster, and nothing is
//! wrong with that.
//!
//! Deliberately absent: mending. A cluster library looks again by itself; a replica that stays away can be killed.

mod judge;
mod observer;
mod watch;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::beam::{Beam, BeamError};
use super::domain::AppName;
use super::runtime::session::Stream;
use super::runtime::{InstanceEvent, RuntimeError};

pub use judge::{Sight, Trouble};
pub use observer::Wish;

/// A node of this machine answers at once or is busy; one that is stopped never answers.
const PATIENCE: Duration = Duration::from_secs(2);
/// For questions whose answer is work.
const LONG_PATIENCE: Duration = Duration::from_secs(20);
/// What was seen is good for so long.
const FRESH: Duration = Duration::from_secs(2);
/// A node with another cookie logs every refusal: it is not asked again before this, unless it is started anew.
const COOKIE_AGAIN: Duration = Duration::from_mins(10);
const AT_ONCE: usize = 32;
/// Whom it sees, and at which version the application is that its release is named after: a node that was upgraded while it
/// ran is at another one than it was booted with.
const LOOK: &str = "{nodes(), try
    {Name, _} = init:script_id(),
    {ok, Version} = application:get_key(list_to_existing_atom(Name), vsn),
    unicode:characters_to_binary(Version)
  catch _:_ -> undefined end}.";

/// Where nodes are, and who hears of them.
#[async_trait]
pub trait World: Send + Sync + 'static {
    /// The app's ready replicas of serving generations that may be nodes.
    fn replicas(&self, app: &AppName) -> Vec<Replica>;
    /// A connection to a port of a replica.
    async fn connect(&self, replica: &str, port: u16) -> Result<Box<dyn Stream>, RuntimeError>;
    /// Tells people what happened to the app's cluster.
    async fn tell(&self, app: &AppName, what: String);
}

/// A replica that may be a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Its name.
    pub name: String,
    /// `web.1`.
    pub label: String,
    /// Where its node would be.
    pub node: SocketAddr,
    /// Another one for each time it was started.
    pub run: String,
    /// What its environment has for cookies, the likeliest first.
    pub cookies: Vec<String>,
}

/// The nodes of all apps. Cheap to clone.
#[derive(Clone)]
pub struct Nodes(Arc<Inner>);

struct Inner {
    world: Arc<dyn World>,
    apps: Mutex<HashMap<AppName, Arc<tokio::sync::Mutex<Seen>>>>,
}

/// What was last seen of an app.
#[derive(Default)]
struct Seen {
    at: Option<Instant>,
    sights: BTreeMap<String, (Replica, Sight)>,
    /// Whether two of its nodes were ever seen connected.
    clusters: bool,
    refused: HashMap<String, (String, Instant)>,
}

impl Nodes {
    /// Over a world; nothing is looked at yet.
    pub fn new(world: Arc<dyn World>) -> Self {
        Self(Arc::new(Inner { world, apps: Mutex::default() }))
    }

    /// Begins to look by itself, until `stop`: at the apps that run already, and at whatever changes.
    pub fn watch(
        &self,
        running: Vec<AppName>,
        events: broadcast::Receiver<InstanceEvent>,
        stop: CancellationToken,
    ) -> JoinHandle<()> {
        tokio::spawn(watch::watch(self.clone(), running, events, stop))
    }

    /// Each replica's node and what is wrong with it, at most moments old.
    pub async fn of(&self, app: &AppName) -> BTreeMap<String, (Sight, Option<Trouble>)> {
        let seen = self.seen(app);
        let mut seen = seen.lock().await;
        if seen.at.is_none_or(|at| at.elapsed() > FRESH) {
            self.look(app, &mut seen).await;
        }
        let troubles = seen.troubles();
        let sights = seen.sights.iter().map(|(name, (_, sight))| (name.clone(), sight.clone()));
        sights.map(|(name, sight)| (name.clone(), (sight, troubles.get(&name).cloned()))).collect()
    }

    /// A conversation with the node of a replica: the one called so (`web.2`, or its whole name), or any.
    pub async fn talk(
        &self,
        app: &AppName,
        wished: Option<&str>,
    ) -> Result<(Replica, Beam<Box<dyn Stream>>), TalkError> {
        let mut replicas = self.0.world.replicas(app);
        if let Some(wished) = wished {
            replicas.retain(|replica| replica.name == wished || replica.label == wished);
        }
        let mut last = TalkError::NoReplica;
        for replica in replicas {
            match self.greet(&replica, LONG_PATIENCE).await {
                Ok((beam, cookie)) => return Ok((Replica { cookies: vec![cookie], ..replica }, beam)),
                Err(Unmet::NoNode) => last = TalkError::NoNode,
                Err(Unmet::Beam(error)) => last = error.into(),
            }
        }
        Err(last)
    }

    fn seen(&self, app: &AppName) -> Arc<tokio::sync::Mutex<Seen>> {
        self.0.apps.lock().unwrap_or_else(PoisonError::into_inner).entry(app.clone()).or_default().clone()
    }

    fn forget(&self, app: &AppName) {
        self.0.apps.lock().unwrap_or_else(PoisonError::into_inner).remove(app);
    }

    async fn look(&self, app: &AppName, seen: &mut Seen) {
        let replicas = self.0.world.replicas(app);
        let known = &seen.refused;
        let sights: Vec<_> = stream::iter(replicas)
            .map(|replica| async {
                let still = known
                    .get(&replica.name)
                    .is_some_and(|(run, at)| *run == replica.run && at.elapsed() < COOKIE_AGAIN);
                let sight = if still { Sight::OtherCookie } else { self.ask(&replica).await };
                (replica, sight)
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let now = Instant::now();
        let mut refused = HashMap::new();
        for (replica, _) in sights.iter().filter(|(_, sight)| *sight == Sight::OtherCookie) {
            let before =
                seen.refused.get(&replica.name).filter(|(run, at)| *run == replica.run && at.elapsed() < COOKIE_AGAIN);
            refused.insert(replica.name.clone(), before.cloned().unwrap_or((replica.run.clone(), now)));
        }
        seen.refused = refused;
        seen.sights = sights.into_iter().map(|(replica, sight)| (replica.name.clone(), (replica, sight))).collect();
        seen.clusters |= judge::connected(seen.sights.values().map(|(_, sight)| sight));
        seen.at = Some(now);
    }

    /// One replica's `nodes()`, and the version of the release that it runs.
    async fn ask(&self, replica: &Replica) -> Sight {
        let asking = async {
            let (mut beam, _) = self.greet(replica, PATIENCE).await?;
            let answer = beam.evaluate(LOOK, &[]).await?;
            let (sees, version) = judge::looked(&answer);
            Ok::<_, Unmet>(Sight::Node { name: beam.name.clone(), sees, version })
        };
        match asking.await {
            Ok(sight) => sight,
            Err(Unmet::Beam(BeamError::Cookie)) => Sight::OtherCookie,
            Err(Unmet::Beam(BeamError::Silent | BeamError::Io(_))) => Sight::Silent,
            Err(Unmet::Beam(BeamError::NotANode) | Unmet::NoNode) => Sight::NoNode,
            Err(Unmet::Beam(error)) => {
                tracing::debug!(instance.name = %replica.name, "a node cannot be asked: {error}");
                Sight::Silent
            }
        }
    }

    /// Introduces itself with whichever cookie is right.
    async fn greet(&self, replica: &Replica, patience: Duration) -> Result<(Beam<Box<dyn Stream>>, String), Unmet> {
        let mut last = Unmet::NoNode;
        for cookie in &replica.cookies {
            let connecting = self.0.world.connect(&replica.name, replica.node.port());
            let stream = match timeout(patience, connecting).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(_)) => return Err(Unmet::NoNode),
                Err(_) => return Err(BeamError::Silent.into()),
            };
            match Beam::greet(stream, cookie, patience).await {
                Ok(beam) => return Ok((beam, cookie.clone())),
                Err(BeamError::Cookie) => last = BeamError::Cookie.into(),
                Err(error) => return Err(error.into()),
            }
        }
        Err(last)
    }
}

impl Seen {
    fn troubles(&self) -> BTreeMap<String, Trouble> {
        judge::judge(self.sights.iter().map(|(name, (_, sight))| (name.as_str(), sight)), self.clusters)
    }

    fn has_nodes(&self) -> bool {
        self.sights.values().any(|(_, sight)| *sight != Sight::NoNode)
    }
}

enum Unmet {
    NoNode,
    Beam(BeamError),
}

impl From<BeamError> for Unmet {
    fn from(error: BeamError) -> Self {
        Self::Beam(error)
    }
}

/// Why a node cannot be talked to.
#[derive(Debug, thiserror::Error)]
pub enum TalkError {
    /// No such replica is ready.
    #[error("no such replica is ready; `gigalixir ps` lists them")]
    NoReplica,
    /// The replica is not an Erlang node that could be found.
    #[error(
        "no Erlang node is found in the replica: its app was built for OTP older than 23.1, names its node by itself, or is none"
    )]
    NoNode,
    /// It refuses, or does not answer.
    #[error(transparent)]
    Beam(#[from] BeamError),
}
