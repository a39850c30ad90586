//! The platform as one value: the only place that names concrete types and connects them. It comes up in the order of
//! [`Platform::start`] and goes down the other way round: doors, operations, visitors, logs.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::actions::account::Accounts;
use super::actions::apps::{self, Apps};
use super::builder::{Builder, Sandbox};
use super::clock::Clock;
use super::cluster;
use super::config::{ServerConfig, TlsMode};
use super::deployer::{self, Deployer};
use super::domain::RouteTable;
use super::drains::Drains;
use super::farewell::Visitors;
use super::gauges::Gauges;
use super::hot::{Planner, Plans};
use super::http::{self, Doors, git};
use super::ingress;
use super::jobs::{self, Jobs};
use super::joints::{
    AccessLogs, AppFolders, AppLogs, AppMembers, AppNodes, Certificates, Draining, Gate, PackRepositories, Reception,
    Sealed, SignedSlugs, SlugShelf,
};
use super::listen::Sockets;
use super::logs::Logs;
use super::mail::Mailer;
use super::metering::Metering;
use super::nodes::Nodes;
use super::pipeline::{self, Pipeline};
use super::receiver::Receiver;
use super::releases::Releases;
use super::router::{Neighbours, Router};
use super::runtime::kubernetes::Kubernetes;
use super::runtime::{Lines, Runtime, Spoken};
use super::runtimes;
use super::seal::Sealer;
use super::settings;
use super::slugs::Slugs;
use super::ssh;
use super::stacks::Offered;
use super::store::Store;
use super::succession::Predecessor;
use super::tls::Tls;

/// Lines of replicas on their way from the runtime to the log.
const LINES: usize = 4096;

/// A running platform.
pub(super) struct Platform {
    pub(super) deployer: Deployer,
    pub(super) jobs: Jobs,
    pub(super) logs: Logs,
    pub(super) doors: (Vec<JoinHandle<()>>, CancellationToken),
    pub(super) visitors: Visitors,
    pub(super) sockets: Vec<(String, std::net::TcpListener)>,
    pub(super) others_logs: CancellationToken,
    pub(super) lines: JoinHandle<()>,
    /// Until it is closed.
    pub(super) metering: Option<Metering>,
    pub(super) drains: Drains,
}

/// The rooms of a push and of what it becomes, connected.
struct Rooms {
    store: Store,
    sealer: Arc<Sealer>,
    releases: Releases,
    receiver: Arc<Receiver>,
    slugs: Arc<Slugs>,
    logs: Logs,
    drains: Drains,
    jobs: Jobs,
    deployer: Deployer,
    router: Router,
    draining: Arc<Draining>,
    /// Cancelled when the logs are another server's to write.
    others_logs: CancellationToken,
    tls: Tls,
    runtime: Arc<dyn Runtime>,
    kubernetes: Option<Arc<Kubernetes>>,
    sandbox: Arc<dyn Sandbox>,
    stacks: Offered,
    lines: JoinHandle<()>,
    directory: Option<cluster::Directory>,
    nodes: Nodes,
    plans: Plans,
    gauges: Gauges,
}

impl Platform {
    /// Brings everything up: listeners, state, what ran before, doors. Returns when visitors can come.
    pub(super) async fn start(
        mut config: ServerConfig,
        mut sockets: Sockets,
        predecessor: Option<Predecessor>,
        front: &Handle,
    ) -> anyhow::Result<Self> {
        let begun = Instant::now();
        let (api, ssh) = (sockets.listen("api", config.api)?, sockets.listen("ssh", config.ssh)?);
        let (http, https) = {
            let _front = front.enter();
            let tls = config.tls.mode != TlsMode::Off;
            let https = tls.then(|| sockets.listen("https", config.https)).transpose()?;
            (sockets.listen("http", config.http)?, https)
        };
        (config.api, config.http, config.ssh) = (api.local_addr()?, http.local_addr()?, ssh.local_addr()?);
        if let Some(https) = &https {
            config.https = https.local_addr()?;
        }

        let mut rooms = connect(&config, front).await?;
        rooms.draining.expect(predecessor.is_some());
        let (store, runtime) = (rooms.store.clone(), rooms.runtime.clone());
        let metering = Metering::start(store, runtime, Clock::system(), settings::price(&config)).await?;
        let pipeline = pipeline(&config, &rooms).await?;
        pipeline.recover().await.context("settling what the last server left")?;
        rooms.deployer.start().await?;
        rooms.jobs.start().await?;
        tell_members(&mut rooms);
        watch_nodes(&rooms).await?;
        rooms.gauges.watch(CancellationToken::new());

        let doors_closed = CancellationToken::new();
        let (door, ssh) = doors(&config, &rooms, pipeline, ssh, doors_closed.clone()).await?;
        let visitors_closed = CancellationToken::new();
        let visitors = {
            let _front = front.enter();
            let mut visitors = vec![rooms.router.serve(http, visitors_closed.clone())];
            if let Some(https) = https {
                let (tls, router) = (rooms.tls.clone(), rooms.router.clone());
                let reception = Reception { tls, router, door: door.clone(), door_closed: doors_closed.clone() };
                let announced = settings::announced(&config);
                visitors.push(rooms.tls.serve(https, reception, announced, visitors_closed.clone())?);
            }
            Visitors(visitors, visitors_closed)
        };
        let mut doors = vec![
            http::serve(api, door, doors_closed.clone()),
            ssh,
            rooms.tls.follow(rooms.deployer.routes(), doors_closed.clone()),
            rooms.tls.tend(doors_closed.clone()),
        ];
        if let Some(cluster) = &rooms.kubernetes {
            doors.push(ingress::follow(cluster, rooms.deployer.routes(), rooms.tls.clone(), doors_closed.clone()));
        }
        if let Some(predecessor) = predecessor {
            rooms.draining.follow(predecessor);
        }
        announce(&config, rooms.runtime.name(), begun);
        Ok(Self {
            deployer: rooms.deployer,
            jobs: rooms.jobs,
            logs: rooms.logs,
            doors: (doors, doors_closed),
            visitors,
            sockets: sockets.into_held(),
            others_logs: rooms.others_logs,
            lines: rooms.lines,
            metering: Some(metering),
            drains: rooms.drains,
        })
    }
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

async fn connect(config: &ServerConfig, front: &Handle) -> anyhow::Result<Rooms> {
    let data = &config.data_dir;
    let (store, sealer) = open_store(data)?;
    let slugs = Arc::new(Slugs::open(&settings::slugs(config)?, &sealer.derive("slugs"))?);
    let logs = Logs::open(&data.join("logs"), settings::logs(config)).context("opening the logs")?;
    let drains = Drains::start(store.clone(), sealer.clone(), logs.clone(), settings::drains(config)).await?;
    let releases = Releases::new(store.clone(), Arc::new(Sealed(sealer.clone())), settings::keep(config));
    let receiver = Receiver::open(data.join("repositories"), settings::receiver(config))?;
    let output =
        jobs::Output::open(&data.join("jobs"), config.jobs.output_kib * 1024).context("opening the jobs' output")?;
    output.recover(&store).await?;
    let (spoken, lines) = lines(&logs, &output);
    let mut directory = open_directory(data);
    let (shelf, signed) = (Arc::new(SlugShelf(slugs.clone())), slugs.clone());
    let sources = runtimes::Sources {
        files: shelf.clone(),
        addresses: Box::new(move |server| Arc::new(SignedSlugs { slugs: signed.clone(), server })),
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

/// Without it replicas run and are not told of each other.
fn open_directory(data: &Path) -> Option<cluster::Directory> {
    let opened = cluster::Directory::open(data).inspect_err(|error| {
        tracing::warn!("replicas of one app will NOT find each other: {error}");
    });
    let directory = opened.ok()?;
    if let Some(why) = &directory.without_https {
        tracing::info!(
            "Replicas ask for each other at {}: port 443 there cannot be had ({why}). libcluster before 3.3 knows no \
             other.",
            directory.address
        );
    }
    Some(directory)
}

/// Begins to tell replicas of each other: as soon as it is known who is ready.
fn tell_members(rooms: &mut Rooms) {
    let Some(directory) = rooms.directory.take() else { return };
    let (store, releases, deployer) = (rooms.store.clone(), rooms.releases.clone(), rooms.deployer.clone());
    directory.serve(Arc::new(AppMembers { store, releases, deployer }), CancellationToken::new());
}

/// Begins to look at how Erlang nodes see each other.
async fn watch_nodes(rooms: &Rooms) -> anyhow::Result<()> {
    let events = rooms.runtime.watch();
    let running: BTreeSet<_> = rooms.runtime.instances().await?.into_iter().map(|one| one.workload.app).collect();
    rooms.nodes.watch(running.into_iter().collect(), events, CancellationToken::new());
    Ok(())
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

async fn pipeline(config: &ServerConfig, rooms: &Rooms) -> anyhow::Result<Arc<Pipeline>> {
    let git = Arc::new(PackRepositories(rooms.receiver.clone()));
    let settings = settings::builder(config, config.data_dir.join("builds"));
    let builder =
        Builder::open(settings, rooms.sandbox.clone(), git).await.context("making the builder's folder ready")?;
    Ok(Arc::new(Pipeline::new(pipeline::Rooms {
        store: rooms.store.clone(),
        releases: rooms.releases.clone(),
        builder,
        slugs: rooms.slugs.clone(),
        plans: rooms.plans.clone(),
        deployer: rooms.deployer.clone(),
        receiver: rooms.receiver.clone(),
        log: Arc::new(AppLogs(rooms.logs.clone())),
        caches: config.data_dir.join("caches"),
        address: Box::new(settings::addresses(config)),
    })))
}

async fn doors(
    config: &ServerConfig,
    rooms: &Rooms,
    pipeline: Arc<Pipeline>,
    ssh: TcpListener,
    closed: CancellationToken,
) -> anyhow::Result<(http::Ready, JoinHandle<()>)> {
    let mailer = Mailer::new(&config.smtp, &config.domain, config.data_dir.join("outbox"))?;
    let accounts = {
        let (store, sealer) = (rooms.store.clone(), rooms.sealer.clone());
        Accounts::new(store, mailer, sealer, settings::accounts(config), Clock::system())?
    };
    let accounts = Arc::new(accounts);
    let folders = AppFolders { receiver: rooms.receiver.clone(), caches: config.data_dir.join("caches") };
    let parts = apps::Rooms {
        store: rooms.store.clone(),
        releases: rooms.releases.clone(),
        deployer: rooms.deployer.clone(),
        jobs: rooms.jobs.clone(),
        logs: rooms.logs.clone(),
        drains: rooms.drains.clone(),
        tls: rooms.tls.clone(),
        nodes: rooms.nodes.clone(),
        plans: rooms.plans.clone(),
        gauges: rooms.gauges.clone(),
        repositories: Arc::new(folders),
        slugs: rooms.slugs.clone(),
        images: Arc::new(rooms.stacks.clone()),
        clock: Clock::system(),
    };
    let apps = Arc::new(Apps::new(parts, settings::apps(config, rooms.runtime.name(), rooms.stacks.names())?));
    apps.tidy().await?;
    let gate = Arc::new(Gate { accounts: accounts.clone(), apps: apps.clone() });
    let git = git::Door { receiver: rooms.receiver.clone(), deploys: pipeline, admits: gate };
    let people = (accounts.clone(), apps.clone());
    let folder = config.data_dir.join("ssh");
    let ssh = ssh::serve(ssh, &folder, settings::ssh(config), people, closed.clone())?;
    let doors = Doors {
        accounts,
        apps,
        slugs: rooms.slugs.clone(),
        shutdown: closed,
        store: rooms.store.clone(),
        trusted_proxies: http::origin::TrustedProxies(config.trusted_proxies.as_slice().into()),
        tls: rooms.tls.clone(),
        traffic: rooms.router.traffic(),
        body_limit: config.limits.body_kib * 1024,
    };
    Ok((http::door(doors, git), ssh))
}

fn announce(config: &ServerConfig, runtime: &str, begun: Instant) {
    let (api, http, ssh) = (config.api.to_string(), config.http.to_string(), config.ssh.to_string());
    let https = (config.tls.mode != TlsMode::Off).then(|| config.https.to_string());
    tracing::info!(
        api.address = api,
        http.address = http,
        https.address = https,
        ssh.address = ssh,
        runtime,
        data = %config.data_dir.display(),
        ready_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        "Ready: API and git at {}, apps at {}, ssh at {ssh}, running on the {runtime} runtime.",
        config.public_api(),
        config.public_apps().replacen("://", "://APP.", 1),
    );
}
