//! Apps on a Kubernetes cluster, from inside of it or from outside.
//!
//! Every app has a namespace. Each place of a generation (its index) has a deployment with one pod, so that the cluster
//! keeps it running, on whichever node, whether a server of ours is there or not; what runs once is a pod that nobody
//! starts anew. What shall run is durable in the cluster when `apply` returns, and a server that starts knows its pods by
//! their labels. Everything is told by server-side apply, as often as need be, and learned by one watch.
//!
//! Which release a generation is of, its variables and where its slug is are in a secret that its pods' containers are
//! given whenever they start. So a generation can become another release while its pods stay: what is upgraded in running
//! nodes is what a pod boots that is started anew, for whatever reason.
//!
//! Restarts and their back-off are the cluster's own. Visitors come through this server's router, which knows pods by the
//! same watch: nothing of a replica's going or coming waits for a load balancer to hear of it. Where a class of ingress is
//! configured they may come by the cluster's own controller too.
//!
//! Deliberately absent: custom resources, a second truth.

mod apps;
mod attend;
mod builds;
mod cluster;
mod exec;
mod generations;
mod ingress;
mod load;
mod machines;
mod names;
mod notes;
mod output;
mod pods;
mod quantity;
mod reach;
mod shared;
mod spec;
mod trouble;
mod watch;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use secrecy::SecretString;
use tokio::net::TcpStream;
use tokio::sync::{broadcast, oneshot, watch as wish};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use self::apps::Apps;
pub use self::builds::{Builds, BuildsConfig, Running};
use self::cluster::{Cluster, patiently};
use self::generations::Generations;
use self::ingress::Ingresses;
pub use self::ingress::{IngressHost, IngressHosts};
use self::load::Loads;
use self::notes::Notes;
use self::shared::Shared;
use self::spec::Scripts;
use super::files as disk;
use super::images::Images;
use super::roster::Roster;
use super::session::{Command, Session, Stream};
use super::{InstanceEvent, Lines, Load, Runtime, RuntimeError, SlugAddresses, relay};
use crate::server::domain::{Instance, InstanceState, Machine, Stack, Workload, WorkloadId};

/// For the pods of a large cluster to be listed.
const LISTING: Duration = Duration::from_secs(60);
/// For a connection straight to a pod, where that is possible at all.
const CONNECT: Duration = Duration::from_secs(1);

/// Where and how.
#[derive(Debug, Clone)]
pub struct KubernetesConfig {
    /// How to reach the cluster; without it, as the pod that this runs in, or as the user's own kubeconfig says.
    pub kubeconfig: Option<PathBuf>,
    /// Which of its contexts, when not the current one.
    pub context: Option<String>,
    /// What this server remembers of the cluster, `DATA/kubernetes`.
    pub dir: PathBuf,
    /// In front of an app's name, its namespace's name.
    pub namespace_prefix: String,
    /// What apps run in, by stack.
    pub images: BTreeMap<Stack, String>,
    /// How long a replica may take to end when nobody says otherwise.
    pub grace: Duration,
    /// Addresses outside of the cluster from which visitors are led to replicas.
    pub visitors: Vec<IpAddr>,
    /// How visitors come by the cluster's own ingress, where they may.
    pub ingress: Option<IngressConfig>,
    /// What registries want to be signed in with: a `.dockerconfigjson`. Secret.
    pub registries: Option<SecretString>,
}

/// How visitors come by the cluster's own ingress.
#[derive(Debug, Clone)]
pub struct IngressConfig {
    /// Which controller's the objects are.
    pub class: String,
    /// Where pods, the controller's among them, reach the server's router.
    pub router: SocketAddr,
}

/// The runtime on a cluster.
pub struct Kubernetes {
    shared: Arc<Shared>,
    apps: Arc<Apps>,
    generations: Generations,
    loads: Loads,
    watching: JoinHandle<()>,
    ingress: Option<IngressConfig>,
}

impl Kubernetes {
    /// The file below `dir` that stays when nothing of this server's is in the cluster any more: its name there.
    pub const IDENTITY: &str = "server.json";

    /// Learns what runs. Output goes to `logs`; while that is full, the nodes keep it.
    pub async fn start(
        config: KubernetesConfig,
        slugs: Arc<dyn SlugAddresses>,
        logs: Lines,
    ) -> Result<Arc<Self>, RuntimeError> {
        let server = identity(&config.dir)?;
        let cluster = Cluster::connect(config.kubeconfig.as_deref(), config.context.as_deref(), server).await?;
        let shared = Arc::new(Shared {
            cluster,
            notes: Notes::new(config.dir.clone()),
            dir: config.dir,
            images: Images(config.images),
            slugs,
            scripts: Scripts::embedded(),
            roster: Roster::new(logs),
            tasks: TaskTracker::new(),
        });
        // A watch tries again for ever: what will never be allowed is found out by asking once.
        let pods: Api<Pod> = Api::all(shared.cluster.client.clone());
        let one = ListParams::default().labels(&shared.cluster.ours()).limit(1);
        patiently("listing this server's pods in the cluster", || pods.list(&one)).await?;
        let (known, settled) = oneshot::channel();
        let watching = tokio::spawn(watch::watch(shared.clone(), known));
        timeout(LISTING, settled).await.ok().and_then(Result::ok).ok_or_else(|| {
            RuntimeError::Unavailable("the cluster's pods could not be listed: look at the API server".to_owned())
        })?;
        let apps = Arc::new(Apps::new(shared.clone(), config.namespace_prefix, config.visitors, config.registries));
        apps.sweep().await;
        let generations = Generations::new(shared.clone(), apps.clone(), config.grace);
        let loads = Loads::new(shared.clone());
        Ok(Arc::new(Self { shared, apps, generations, loads, watching, ingress: config.ingress }))
    }

    /// Whether a cluster was named, or this runs in one.
    pub fn is_configured(kubeconfig: Option<&Path>) -> bool {
        kubeconfig.is_some() || cluster::is_inside()
    }

    /// This machine's address as the cluster sees it; `None` if it cannot be known.
    pub async fn own_address(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Option<IpAddr>, RuntimeError> {
        let cluster = Cluster::connect(kubeconfig, context, String::new()).await?;
        Ok(reach::own_address(&cluster).await)
    }

    /// Keeps the cluster's ingress as wished, for as long as there is a wish; without any of ours, where visitors may not come
    /// by it.
    pub fn keep_ingress(&self, wished: wish::Receiver<Arc<IngressHosts>>) {
        let ingresses = Ingresses::new(self.shared.clone(), self.apps.clone(), self.ingress.clone());
        self.shared.tasks.spawn(ingresses.follow(wished));
    }

    /// Leaves everything running and returns when nothing of this server touches it any more: a successor can start.
    pub async fn close(&self) {
        self.watching.abort();
        self.apps.close();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    fn pods(&self, instance: &Instance) -> Api<Pod> {
        self.shared.cluster.of(&self.apps.namespace(&instance.workload.app))
    }
}

/// The name by which this server's objects are known: made once, kept with the data (`DATA/kubernetes`).
pub fn identity(dir: &Path) -> Result<String, RuntimeError> {
    let unusable = |source| RuntimeError::Io { context: format!("using {}", dir.display()), source };
    disk::make(dir).map_err(unusable)?;
    let file = dir.join(Kubernetes::IDENTITY);
    if let Ok(known) = disk::read_json(&file) {
        return Ok(known);
    }
    let new = hex::encode(rand::random::<[u8; 4]>());
    disk::write_json(&file, &new, true).map_err(unusable)?;
    Ok(new)
}

#[async_trait]
impl Runtime for Kubernetes {
    fn name(&self) -> &'static str {
        "kubernetes"
    }

    async fn apply(&self, workload: &Workload) -> Result<(), RuntimeError> {
        self.generations.apply(workload).await
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
        let one = self.shared.roster.running(instance)?;
        exec::exec(self.pods(&one), instance, command).await
    }

    async fn connect(&self, instance: &str, port: u16) -> Result<Box<dyn Stream>, RuntimeError> {
        let one = self.shared.roster.running(instance)?;
        if let Some(address) = one.node {
            match timeout(CONNECT, TcpStream::connect((address.ip(), port))).await {
                Ok(Ok(stream)) => return Ok(Box::new(stream)),
                // A node listens there; what is none need not be asked twice.
                Ok(Err(source)) if port == address.port() && source.kind() == ErrorKind::ConnectionRefused => {
                    return Err(RuntimeError::Io {
                        context: format!("connecting to port {port} of {instance}"),
                        source,
                    });
                }
                // It may listen on its own loopback alone, or be out of reach from here.
                _ => {}
            }
        }
        let session = exec::exec(self.pods(&one), instance, relay::command(port)).await?;
        relay::connection(session, instance, port).await
    }

    async fn load(&self, instance: &str) -> Result<Option<Load>, RuntimeError> {
        let one = self.shared.roster.running(instance)?;
        if one.started_at.is_none() || one.state == InstanceState::Ended {
            return Err(RuntimeError::NotRunning(instance.to_owned()));
        }
        self.loads.of(&self.pods(&one), instance).await
    }

    async fn machines(&self) -> Result<Vec<Machine>, RuntimeError> {
        machines::list(&self.shared.cluster).await
    }

    fn watch(&self) -> broadcast::Receiver<InstanceEvent> {
        self.shared.roster.watch()
    }
}
