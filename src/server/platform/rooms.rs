//! The rooms of a push and of what it becomes, connected.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::server::builder::Sandbox;
use crate::server::clock::Clock;
use crate::server::cluster;
use crate::server::config::ServerConfig;
use crate::server::deployer::{self, Deployer};
use crate::server::domain::RouteTable;
use crate::server::drains::Drains;
use crate::server::gauges::Gauges;
use crate::server::hot::{Planner, Plans};
use crate::server::jobs::{self, Jobs};
use crate::server::joints::{AccessLogs, AppLogs, AppNodes, Certificates, Draining, Sealed, SignedSlugs, SlugShelf};
use crate::server::logs::Logs;
use crate::server::nodes::Nodes;
use crate::server::parcels::Parcels;
use crate::server::receiver::Receiver;
use crate::server::releases::Releases;
use crate::server::router::{Neighbours, Router};
use crate::server::runtime::kubernetes::Kubernetes;
use crate::server::runtime::{Lines, Runtime, Spoken};
use crate::server::runtimes;
use crate::server::seal::Sealer;
use crate::server::settings;
use crate::server::slugs::Slugs;
use crate::server::stacks::Offered;
use crate::server::store::Store;
use crate::server::tls::Tls;

/// Lines of replicas on their way from the runtime to the log.
const LINES: usize = 4096;

/// The rooms, connected.
pub(super) struct Rooms {
    pub(super) store: Store,
    pub(super) sealer: Arc<Sealer>,
    pub(super) releases: Releases,
    pub(super) receiver: Arc<Receiver>,
    pub(super) slugs: Arc<Slugs>,
    pub(super) parcels: Arc<Parcels>,
    pub(super) logs: Logs,
    pub(super) drains: Drains,
    pub(super) jobs: Jobs,
    pub(super) deployer: Deployer,
    pub(super) router: Router,
    pub(super) draining: Arc<Draining>,
    /// Cancelled when the logs are another server's to write.
    pub(super) others_logs: CancellationToken,
    pub(super) tls: Tls,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) kubernetes: Option<Arc<Kubernetes>>,
    pub(super) sandbox: Arc<dyn Sandbox>,
    pub(super) stacks: Offered,
    pub(super) lines: JoinHandle<()>,
    pub(super) directory: Option<cluster::Directory>,
    pub(super) nodes: Nodes,
    pub(super) plans: Plans,
    pub(super) gauges: Gauges,
}

/// The database, and the key to what is secret in it.
fn open_store(data: &Path) -> anyhow::Result<(Store, Arc<Sealer>)> {
    let (database, key) = (data.join("gigalixir.db"), data.join("secret.key"));
    // A new key would open nothing of what the old one sealed.
    if database.exists() && !key.exists() {
        bail!(
            "`{}` is missing, and the database's secrets open with nothing else: restore it from a backup",
            key.display()
        );
    }
    let store = Store::open(&database).with_context(|| format!("`{}`", database.display()))?;
    Ok((store, Arc::new(Sealer::open(&key)?)))
}

/// Opens what there is, and lets rooms know each other; nothing happens in them yet.
pub(super) async fn connect(config: &ServerConfig, front: &Handle) -> anyhow::Result<Rooms> {
    let data = &config.data_dir;
    let (store, sealer) = open_store(data)?;
    let slugs = Arc::new(Slugs::open(&settings::slugs(config)?, &sealer.derive("slugs"))?);
    let parcels = Parcels::open(data.join("parcels"), &sealer.derive("parcels")).context("opening `parcels`")?;
    let logs = Logs::open(&data.join("logs"), settings::logs(config)).context("opening the logs")?;
    let drains = Drains::start(store.clone(), sealer.clone(), logs.clone(), settings::drains(config)).await?;
    let releases = Releases::new(store.clone(), Arc::new(Sealed(sealer.clone())), settings::keep(config));
    let receiver = Receiver::open(data.join("repositories"), settings::receiver(config))?;
    let output =
        jobs::Output::open(&data.join("jobs"), config.jobs.output_kib * 1024).context("opening the jobs' output")?;
    output.recover(&store).await?;
    let (spoken, lines) = lines(&logs, &output);
    let mut directory = runtimes::open_directory(data);
    let (shelf, signed) = (Arc::new(SlugShelf(slugs.clone())), slugs.clone());
    let sources = runtimes::Sources {
        files: shelf.clone(),
        addresses: Box::new(move |server| Arc::new(SignedSlugs { slugs: signed.clone(), server })),
        parcels: parcels.clone(),
    };
    let chosen = runtimes::start(config, sources, spoken.clone(), directory.as_mut()).await?;
    let plans = plans(data, &chosen.sandbox, &store, shelf)?;
    let runtime = chosen.runtime;
    let parts = jobs::Rooms {
        store: store.clone(),
        releases: releases.clone(),
        runtime: runtime.clone(),
        output,
        lines: spoken,
        clock: Clock::system(),
    };
    let jobs = Jobs::new(parts, settings::jobs(config));
    let draining = Arc::new(Draining::default());
    let parts = deployer::Rooms {
        store: store.clone(),
        releases: releases.clone(),
        runtime: runtime.clone(),
        drains: draining.clone(),
        log: Arc::new(AppLogs(logs.clone())),
        jobs: jobs.clone(),
        plans: plans.clone(),
    };
    let deployer = Deployer::new(parts, settings::deployer(config));
    let tls = Tls::open(config.tls.clone(), config.domain.clone(), store.clone(), sealer.clone()).await?;
    let (router, others_logs) = router(config, &tls, &logs, deployer.routes(), front);
    draining.ask(router.inflight());
    let nodes = Nodes::new(Arc::new(AppNodes {
        store: store.clone(),
        deployer: deployer.clone(),
        runtime: runtime.clone(),
        logs: logs.clone(),
    }));
    let gauges = Gauges::new(runtime.clone(), Clock::system());
    Ok(Rooms {
        store,
        sealer,
        releases,
        receiver,
        slugs,
        parcels,
        logs,
        drains,
        jobs,
        deployer,
        router,
        draining,
        others_logs,
        tls,
        runtime,
        kubernetes: chosen.kubernetes,
        sandbox: chosen.sandbox,
        stacks: chosen.stacks,
        lines,
        directory,
        nodes,
        plans,
        gauges,
    })
}

/// The router, on the visitors' threads, and what ends its part in the logs.
fn router(
    config: &ServerConfig,
    tls: &Tls,
    logs: &Logs,
    routes: watch::Receiver<Arc<RouteTable>>,
    front: &Handle,
) -> (Router, CancellationToken) {
    let (domain, https_port) = (config.domain.to_string(), settings::https_port(config));
    // Where an ingress decrypts for the router, it is the ingress' to send visitors to https.
    let https_port = config.kubernetes.ingress_class.is_none().then_some(https_port);
    let portal = Arc::new(Certificates { tls: tls.clone(), domain, https_port });
    let closed = CancellationToken::new();
    let journal = Arc::new(AccessLogs { logs: logs.clone(), closed: closed.clone() });
    let neighbours = Neighbours { portal: Some(portal), journal: Some(journal) };
    let _front = front.enter();
    (Router::between(neighbours, settings::router(config), routes), closed)
}

/// How running releases become each other.
fn plans(data: &Path, sandbox: &Arc<dyn Sandbox>, store: &Store, shelf: Arc<SlugShelf>) -> anyhow::Result<Plans> {
    let planner = Planner::open(data.join("upgrades"), sandbox.clone()).context("making the planner's folder ready")?;
    Ok(Plans::new(planner, store.clone(), shelf))
}

/// Where the replicas' lines go, and the task that carries them into the log.
fn lines(logs: &Logs, output: &jobs::Output) -> (Lines, JoinHandle<()>) {
    let (lines, mut spoken) = mpsc::channel::<Spoken>(LINES);
    let (logs, output) = (logs.clone(), output.clone());
    let carrier = tokio::spawn(async move {
        while let Some(Spoken { workload, line, kept }) = spoken.recv().await {
            output.hear(&workload, &line);
            logs.keep(&workload.app, line, kept);
        }
    });
    (lines, carrier)
}
