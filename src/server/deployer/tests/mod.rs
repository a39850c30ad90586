//! The deployer over the real store and the runtime in memory. A `World` outlives its servers, as the disk and the
//! replicas of a real machine do.

mod recovery;
mod rollouts;
mod scaling;
mod upgrades;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tempfile::TempDir;
use tokio::sync::Semaphore;

use super::*;
use crate::server::domain::{
    AppName, ConfigVars, InstanceState, ProcessType, ReleaseState, RouteState, Slug, SlugDigest, SlugKind, Stack,
};
use crate::server::releases::{Keep, Seals};
use crate::server::runtime::memory::Memory;
use crate::server::store::{WorkloadState, testing};

const ME: &str = "me@example.com";

/// One app on one machine.
struct World {
    store: Store,
    releases: Releases,
    runtime: Arc<Memory>,
    log: Arc<Log>,
    gate: Arc<Gate>,
    app: App,
    folder: TempDir,
}

impl World {
    async fn new() -> Self {
        let (store, folder) = testing::open().await;
        let owner = testing::user(&store, ME).await;
        let releases = Releases::new(store.clone(), Arc::new(Plain), Keep::default());
        let (name, stack) = (AppName::parse("shop").unwrap(), Stack::parse("gigalixir-24").unwrap());
        let app = releases.create_app(owner, name, stack).await.unwrap();
        let gate = Arc::new(Gate(Semaphore::new(Semaphore::MAX_PERMITS)));
        let (runtime, log) = (Arc::new(Memory::new()), Arc::new(Log::default()));
        Self { store, releases, runtime, log, gate, app, folder }
    }

    /// A server that has started.
    async fn server(&self) -> Deployer {
        let (runtime, folder) = (self.runtime.clone(), self.folder.path());
        let jobs = crate::server::jobs::testing::jobs(&self.store, &self.releases, runtime, folder).await;
        let rooms = Rooms {
            jobs,
            store: self.store.clone(),
            releases: self.releases.clone(),
            runtime: self.runtime.clone(),
            drains: self.gate.clone(),
            log: self.log.clone(),
            plans: crate::server::hot::testing::plans(&self.store, folder),
        };
        let settings = Settings {
            health_timeout: Duration::from_millis(200),
            drain: Duration::from_secs(3600),
            ..Settings::new(Hostname::parse("example.com").unwrap())
        };
        let deployer = Deployer::new(rooms, settings);
        deployer.recover().await.unwrap();
        deployer.start().await.unwrap();
        deployer
    }

    /// Pushes code whose processes are `NAME: COMMAND` by comma.
    async fn push(&self, deployer: &Deployer, procfile: &str) -> Result<Deployed, DeployError> {
        let slug = slug(procfile);
        let id = self.store.record_slug(self.app.id, slug.clone()).await.unwrap();
        let deploy = Deploy {
            app: self.app.id,
            slug: (id, slug),
            by: ME.to_owned(),
            push: None,
            before_commit: None,
            hot: None,
        };
        deployer.deploy(deploy, &Progress::silent()).await
    }

    /// What is, in words: the route, then the replicas.
    async fn shown(&self, deployer: &Deployer) -> String {
        let instances = self.runtime.instances().await.unwrap();
        let replicas = instances.iter().map(|i| format!("{}.{}@{}", i.workload.process, i.index, i.release));
        format!("{} | {}", route(deployer), replicas.collect::<Vec<_>>().join(" "))
    }

    /// The versions and what became of them, newest first.
    async fn states(&self) -> String {
        let all = self.releases.list(self.app.id).await.unwrap();
        all.iter().map(|r| format!("{}:{}", r.version, r.state.as_str())).collect::<Vec<_>>().join(" ")
    }

    async fn app_now(&self) -> App {
        self.store.app_by_id(self.app.id).await.unwrap()
    }

    /// What must be true whenever nothing is under way.
    async fn check_invariants(&self, deployer: &Deployer) {
        eventually(|| async {
            self.store.all_workloads().await.unwrap().iter().all(|w| w.state == WorkloadState::Serving)
        })
        .await;
        assert!(self.store.open_operations().await.unwrap().is_empty(), "an operation never ended");
        let all = self.releases.list(self.app.id).await.unwrap();
        let live: Vec<_> = all.iter().filter(|release| release.state == ReleaseState::Live).collect();
        assert!(live.len() <= 1, "{:?}", self.states().await);
        assert_eq!(live.first().map(|release| release.version), self.app_now().await.live);
        assert!(!all.iter().any(|release| release.state == ReleaseState::Deploying), "{}", self.states().await);
        let known: Vec<_> = self.store.all_workloads().await.unwrap().into_iter().map(|w| w.id).collect();
        eventually(|| async { self.runtime.instances().await.unwrap().iter().all(|i| known.contains(&i.workload)) })
            .await;
        if let RouteState::Serving(backends) = route_state(deployer) {
            let ready = self.runtime.instances().await.unwrap();
            assert!(backends.iter().all(|b| ready.iter().any(|i| i.name == b.name && i.state == InstanceState::Ready)));
        }
    }
}

/// Waits for what happens in the background.
async fn eventually<F: Future<Output = bool>>(mut is_so: impl FnMut() -> F) {
    for _ in 0..500 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("it never became so");
}

fn slug(procfile: &str) -> Slug {
    let hash = procfile.bytes().fold(7_u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    let process = |entry: &str| {
        let (name, command) = entry.split_once(": ").unwrap();
        (ProcessType::parse(name).unwrap(), command.to_owned())
    };
    Slug {
        digest: SlugDigest::parse(&format!("{hash:064x}")).unwrap(),
        size: 1,
        sha: format!("{hash:040x}"),
        stack: Stack::parse("gigalixir-24").unwrap(),
        kind: SlugKind::Other,
        processes: procfile.split(", ").map(process).collect(),
        customer_app_name: None,
        customer_app_version: None,
        capabilities: serde_json::Value::Null,
        schedules: Vec::new(),
    }
}

fn counts(wanted: &[(&str, u32)]) -> BTreeMap<ProcessType, u32> {
    wanted.iter().map(|(process, count)| (ProcessType::parse(process).unwrap(), *count)).collect()
}

fn vars(wanted: &[(&str, &str)]) -> BTreeMap<String, String> {
    wanted.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn route_state(deployer: &Deployer) -> RouteState {
    let table = deployer.routes().borrow().clone();
    table.hosts.get(&Hostname::parse("shop.example.com").unwrap()).unwrap().state.clone()
}

fn route(deployer: &Deployer) -> String {
    in_words(&route_state(deployer))
}

fn in_words(state: &RouteState) -> String {
    match state {
        RouteState::Serving(backends) => {
            backends.iter().map(|backend| backend.name.as_str()).collect::<Vec<_>>().join(" ")
        }
        other => format!("{other:?}"),
    }
}

/// Every route the app had, without repetitions.
fn history(deployer: &Deployer) -> Vec<String> {
    let host = Hostname::parse("shop.example.com").unwrap();
    let tables = deployer.0.fleet.history.lock().unwrap().clone();
    let mut all: Vec<_> = tables.iter().filter_map(|t| t.hosts.get(&host)).map(|r| in_words(&r.state)).collect();
    all.dedup();
    all
}

/// Visitors that leave when the test says so.
struct Gate(Semaphore);

impl Gate {
    fn shut(&self) {
        self.0.forget_permits(Semaphore::MAX_PERMITS);
    }

    fn open(&self) {
        self.0.add_permits(1000);
    }
}

#[async_trait]
impl Drains for Gate {
    async fn drained(&self, _backend: crate::server::domain::Backend) {
        let _permit = self.0.acquire().await.unwrap();
    }
}

#[derive(Default)]
struct Log(Mutex<Vec<String>>);

#[async_trait]
impl AppLog for Log {
    fn platform(&self, _app: &AppName, text: String) {
        self.0.lock().unwrap().push(text);
    }

    fn build(&self, _app: &AppName, _text: String) {}

    async fn last_lines(&self, _app: &AppName, instance: &str, count: usize) -> Vec<String> {
        vec![format!("{instance} said {count} things")]
    }
}

/// Seals with the context alone, so that a wrong context is found.
struct Plain;

impl Seals for Plain {
    fn seal(&self, context: &str, plain: &[u8]) -> Vec<u8> {
        [context.as_bytes(), b"\0", plain].concat()
    }

    fn unseal(&self, context: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        sealed.strip_prefix(context.as_bytes())?.strip_prefix(b"\0").map(<[u8]>::to_vec)
    }
}

fn config_of(vars: &[(&str, &str)]) -> ConfigVars {
    ConfigVars::new(self::vars(vars)).unwrap()
}
