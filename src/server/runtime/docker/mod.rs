//! Apps in Docker containers, on this machine or wherever the daemon's socket leads.
//!
//! Each instance has a container for each of its runs, in a network of its app's own. Docker restarts nothing: when and
//! whether is ours to say, as on every runtime. What shall run lies on disk before `apply` returns; containers outlive the
//! server, and the next one knows them by their labels.
//!
//! Deliberately absent: building images for apps. The slug is unpacked into a container of the stack's image.

mod engine;
mod exec;
mod files;
mod generation;
mod networks;
mod output;
mod replica;
mod shared;
mod spec;

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ipnet::Ipv4Net;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio::sync::broadcast;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use self::engine::{Engine, Found};
use self::generation::Generation;
use self::networks::Networks;
use self::shared::Shared;
use super::erlang::NODE_PORT;
use super::files as disk;
use super::generations::Generations;
use super::images::Images;
use super::roster::Roster;
use super::session::{Command, Session, Stream};
use super::{Directory, InstanceEvent, Lines, Load, Runtime, RuntimeError, SlugSource, machine};
use crate::server::domain::{AppName, Instance, Machine, Stack, Workload, WorkloadId};

/// How long a start waits to know how the replicas are that it took over.
const SETTLING: Duration = Duration::from_millis(500);

/// Where and how.
#[derive(Debug, Clone)]
pub struct DockerConfig {
    /// The daemon's socket.
    pub socket: PathBuf,
    /// Where wishes are written down, `DATA/docker`. Servers are told apart by it.
    pub dir: PathBuf,
    /// What apps run in, by stack.
    pub images: BTreeMap<Stack, String>,
    /// Where the apps' networks lie: each takes 64 addresses.
    pub subnets: Ipv4Net,
    /// Where replicas ask who else there is of their app.
    pub directory: Option<Directory>,
}

/// The runtime on a Docker daemon.
pub struct Docker {
    shared: Arc<Shared>,
    generations: Generations,
}

impl Docker {
    /// Takes over what runs, restarts what should and does not, removes what nobody wishes. Output goes to `logs`; while
    /// that is full, Docker keeps it.
    pub async fn start(
        config: DockerConfig,
        slugs: Arc<dyn SlugSource>,
        logs: Lines,
    ) -> Result<Arc<Self>, RuntimeError> {
        let unusable = |source| RuntimeError::Io { context: format!("using {}", config.dir.display()), source };
        disk::make(&config.dir).map_err(unusable)?;
        let dir = config.dir.canonicalize().map_err(unusable)?;
        let engine = Engine::connect(&config.socket, server_of(&dir)).await?;
        let containers = engine.containers().await?;
        let shared = Arc::new(Shared {
            networks: Networks::open(engine.clone(), config.subnets, &containers).await?,
            engine,
            dir,
            images: Images(config.images),
            directory: config.directory,
            slugs,
            roster: Roster::new(logs),
            tasks: TaskTracker::new(),
        });
        let generations = Generations::new(shared.tasks.clone());
        let docker = Arc::new(Self { shared, generations });
        docker.take_over(containers).await?;
        Ok(docker)
    }

    /// An address of this machine that containers of the server with this folder reach, whatever network they are in.
    pub async fn meeting_place(socket: &Path, dir: &Path, subnets: Ipv4Net) -> Result<Ipv4Addr, RuntimeError> {
        Engine::connect(socket, server_of(dir)).await?.meeting_place(subnets).await
    }

    /// Leaves everything running and returns when nothing of this server touches it any more: a successor can start.
    pub async fn close(&self) {
        self.generations.close().await;
    }

    async fn take_over(&self, containers: Vec<Found>) -> Result<(), RuntimeError> {
        let mut of: HashMap<String, Vec<Found>> = HashMap::new();
        for found in containers {
            let generation = found.labels.get(spec::WORKLOAD).cloned().unwrap_or_default();
            of.entry(generation).or_default().push(found);
        }
        let mut settling = Vec::new();
        for workload in self.wishes()? {
            let found = of.remove(&disk::generation_name(&workload.id)).unwrap_or_default();
            let mut generation = Generation::new(self.shared.clone(), &workload.id);
            let id = workload.id.clone();
            settling.extend(generation.adopt(workload, found).await);
            self.generations.begin(&id, |inbox| async move {
                if let Err(error) = generation.complete().await {
                    tracing::error!("a generation could not be taken over whole: {error}");
                }
                generation.obey(inbox).await;
            });
        }
        for found in of.into_values().flatten() {
            tracing::warn!(instance.name = found.name, "Removing a container that nobody wishes.");
            self.shared.engine.remove(&found.id).await?;
            if let (Some(lease), Some(app)) = (self.shared.networks.of(&found).await, found.labels.get(spec::APP))
                && let Ok(app) = AppName::parse(app)
            {
                self.shared.networks.give_back(&app, lease.address).await;
            }
        }
        self.shared.networks.sweep().await;
        let known = async {
            for settled in settling {
                let _ = settled.await;
            }
        };
        let _ = timeout(SETTLING, known).await;
        Ok(())
    }

    fn wishes(&self) -> Result<Vec<Workload>, RuntimeError> {
        let dir = &self.shared.dir;
        let unreadable = |source| RuntimeError::Io { context: format!("reading {}", dir.display()), source };
        let mut wishes = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                wishes.push(disk::read_json(&path).map_err(unreadable)?);
            }
        }
        Ok(wishes)
    }
}

/// What the objects of the server with this folder are labelled with.
pub fn server_of(dir: &Path) -> String {
    let digest = Sha256::digest(dir.as_os_str().as_encoded_bytes());
    hex::encode(&digest[..4])
}

#[async_trait]
impl Runtime for Docker {
    fn name(&self) -> &'static str {
        "docker"
    }

    async fn apply(&self, workload: &Workload) -> Result<(), RuntimeError> {
        let begin = |inbox| Generation::new(self.shared.clone(), &workload.id).obey(inbox);
        self.generations.apply(workload, begin).await
    }

    async fn remove(&self, id: &WorkloadId, grace: Duration) -> Result<(), RuntimeError> {
        self.generations.remove(id, grace).await
    }

    async fn replace(&self, id: &WorkloadId, name: &str, grace: Duration) -> Result<bool, RuntimeError> {
        self.generations.replace(id, name, grace).await
    }

    async fn instances(&self) -> Result<Vec<Instance>, RuntimeError> {
        Ok(self.shared.roster.all())
    }

    async fn exec(&self, instance: &str, command: Command) -> Result<Session, RuntimeError> {
        self.shared.roster.running(instance)?;
        exec::exec(&self.shared.engine, instance, command).await
    }

    async fn connect(&self, instance: &str, port: u16) -> Result<Box<dyn Stream>, RuntimeError> {
        self.shared.roster.running(instance)?;
        let address = self.shared.engine.address(instance).await?;
        match TcpStream::connect((address, port)).await {
            Ok(stream) => Ok(Box::new(stream)),
            // A node listens there; what is none need not be asked twice.
            Err(source) if port == NODE_PORT => {
                Err(RuntimeError::Io { context: format!("connecting to port {port} of {instance}"), source })
            }
            // It may listen on its own loopback alone.
            Err(_) => exec::relay(&self.shared.engine, instance, port).await,
        }
    }

    async fn load(&self, instance: &str) -> Result<Option<Load>, RuntimeError> {
        self.shared.roster.running(instance)?;
        self.shared.engine.load(instance).await
    }

    async fn machines(&self) -> Result<Vec<Machine>, RuntimeError> {
        Ok(vec![machine::this_one([("docker", self.shared.engine.version().await?)])])
    }

    fn watch(&self) -> broadcast::Receiver<InstanceEvent> {
        self.shared.roster.watch()
    }
}
