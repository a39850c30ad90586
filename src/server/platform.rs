//! The platform as one value: the only place that names concrete types and connects them. It comes up in the order of
//! [`Platform::start`] and goes down the other way round: doors, operations, visitors, logs.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::actions::account::Accounts;
use super::actions::apps::{self, Apps};
use super::builder::{BubblewrapSandbox, Builder};
use super::clock::Clock;
use super::cluster;
use super::config::ServerConfig;
use super::confine::cgroup::Cgroups;
use super::deployer::{self, Deployer};
use super::http::{self, Doors, git};
use super::joints::{AppFolders, AppLogs, AppMembers, AppNodes, Draining, Gate, PackRepositories, Sealed, SlugShelf};
use super::listen::Sockets;
use super::logs::Logs;
use super::mail::Mailer;
use super::nodes::Nodes;
use super::pipeline::{self, Pipeline};
use super::receiver::Receiver;
use super::releases::Releases;
use super::router::Router;
use super::runtime::Runtime;
use super::runtime::local::{Directory, Local, LocalConfig};
use super::seal::Sealer;
use super::settings;
use super::slugs::Slugs;
use super::ssh;
use super::store::Store;

/// Lines of replicas on their way from the runtime to the log.
const LINES: usize = 4096;

/// A running platform.
pub(super) struct Platform {
    deployer: Deployer,
    logs: Logs,
    doors: ([JoinHandle<()>; 2], CancellationToken),
    visitors: (JoinHandle<()>, CancellationToken),
    lines: JoinHandle<()>,
}

/// The rooms of a push and of what it becomes, connected.
struct Rooms {
    store: Store,
    sealer: Arc<Sealer>,
    releases: Releases,
    receiver: Arc<Receiver>,
    slugs: Arc<Slugs>,
    logs: Logs,
    deployer: Deployer,
    router: Router,
    runtime: &'static str,
    lines: JoinHandle<()>,
    directory: Option<cluster::Directory>,
    nodes: Nodes,
    watched: Arc<dyn Runtime>,
}

impl Platform {
    /// Brings everything up: listeners, state, what ran before, doors. Returns when visitors can come.
    pub(super) async fn start(mut config: ServerConfig) -> anyhow::Result<Self> {
        let begun = Instant::now();
        let mut sockets = Sockets::from_env();
        let (api, http) = (sockets.listen("api", config.api)?, sockets.listen("http", config.http)?);
        let ssh = sockets.listen("ssh", config.ssh)?;
        (config.api, config.http, config.ssh) = (api.local_addr()?, http.local_addr()?, ssh.local_addr()?);

        let mut rooms = connect(&config).await?;
        let pipeline = pipeline(&config, &rooms)?;
        pipeline.recover().await.context("settling what the last server left")?;
        rooms.deployer.start().await?;
        tell_members(&mut rooms);
        watch_nodes(&rooms).await?;

        let visitors_closed = CancellationToken::new();
        let visitors = rooms.router.serve(http, visitors_closed.clone());
        let doors_closed = CancellationToken::new();
        let doors = doors(&config, &rooms, pipeline, (api, ssh), doors_closed.clone()).await?;
        announce(&config, rooms.runtime, begun);
        Ok(Self {
            deployer: rooms.deployer,
            logs: rooms.logs,
            doors: (doors, doors_closed),
            visitors: (visitors, visitors_closed),
            lines: rooms.lines,
        })
    }

    /// Lets nobody in any more, finishes what is under way, ends the apps if asked to, and writes the last lines.
    pub(super) async fn stop(self, apps: bool) {
        self.doors.1.cancel();
        self.deployer.close().await;
        for door in self.doors.0 {
            let _ = door.await;
        }
        self.visitors.1.cancel();
        let _ = self.visitors.0.await;
        if apps {
            self.deployer.stop_apps().await;
            // Their last words come after their end.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.lines.abort();
        self.logs.flush().await;
    }
}

async fn connect(config: &ServerConfig) -> anyhow::Result<Rooms> {
    let data = &config.data_dir;
    let database = data.join("gigalixir.db");
    let key = data.join("secret.key");
    // A new key would open nothing of what the old one sealed.
    if database.exists() && !key.exists() {
        bail!(
            "`{}` is missing, and the database's secrets open with nothing else: restore it from a backup",
            key.display()
        );
    }
    let store = Store::open(&database).with_context(|| format!("`{}`", database.display()))?;
    let sealer = Arc::new(Sealer::open(&key)?);
    let slugs = Arc::new(Slugs::open(&settings::slugs(config)?, &sealer.derive("slugs"))?);
    let logs = Logs::open(&data.join("logs"), settings::logs(config)).context("opening the logs")?;
    let releases = Releases::new(store.clone(), Arc::new(Sealed(sealer.clone())), settings::keep(config));
    let receiver = Receiver::open(data.join("repositories"), settings::receiver(config))?;
    let directory = open_directory(data);
    let (runtime, lines) = local_runtime(data, &slugs, &logs, directory.as_ref()).await?;
    let name = runtime.name();

    let draining = Arc::new(Draining::default());
    let parts = deployer::Rooms {
        store: store.clone(),
        releases: releases.clone(),
        runtime: runtime.clone(),
        drains: draining.clone(),
        log: Arc::new(AppLogs(logs.clone())),
    };
    let deployer = Deployer::new(parts, settings::deployer(config));
    let router = Router::new(settings::router(config), deployer.routes());
    // Nothing was put there before.
    let _ = draining.0.set(router.inflight());
    let nodes = Nodes::new(Arc::new(AppNodes {
        store: store.clone(),
        deployer: deployer.clone(),
        runtime: runtime.clone(),
        logs: logs.clone(),
    }));
    Ok(Rooms {
        store,
        sealer,
        releases,
        receiver,
        slugs,
        logs,
        deployer,
        router,
        runtime: name,
        lines,
        directory,
        nodes,
        watched: runtime,
    })
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
    let events = rooms.watched.watch();
    let running: BTreeSet<_> = rooms.watched.instances().await?.into_iter().map(|one| one.workload.app).collect();
    rooms.nodes.watch(running.into_iter().collect(), events, CancellationToken::new());
    Ok(())
}

/// The local runtime, and the task that carries its replicas' lines into the log.
async fn local_runtime(
    data: &Path,
    slugs: &Arc<Slugs>,
    logs: &Logs,
    directory: Option<&cluster::Directory>,
) -> anyhow::Result<(Arc<dyn Runtime>, JoinHandle<()>)> {
    let (lines, mut spoken) = mpsc::channel(LINES);
    let directory = directory
        .map(|directory| Directory { address: directory.address, authority_pem: directory.authority_pem().to_owned() });
    let place = LocalConfig { dir: data.join("replicas"), program: LocalConfig::THIS_PROGRAM.into(), directory };
    let logs = logs.clone();
    let carrier = tokio::spawn(async move {
        while let Some((app, line)) = spoken.recv().await {
            logs.append(&app, line);
        }
    });
    let runtime = Local::start(place, Arc::new(SlugShelf(slugs.clone())), lines).await?;
    Ok((runtime, carrier))
}

fn pipeline(config: &ServerConfig, rooms: &Rooms) -> anyhow::Result<Arc<Pipeline>> {
    // Named after the folder: what another server of this machine builds is not ours to sweep.
    let folder = Sha256::digest(config.data_dir.as_os_str().as_encoded_bytes());
    let cgroups = Cgroups::detect(&format!("gigalixir-builds-{}", hex::encode(&folder[..4])));
    let sandbox = BubblewrapSandbox::new(cgroups.ok());
    let git = Arc::new(PackRepositories(rooms.receiver.clone()));
    let settings = settings::builder(config, config.data_dir.join("builds"));
    let builder = Builder::open(settings, Arc::new(sandbox), git).context("making the builder's folder ready")?;
    Ok(Arc::new(Pipeline::new(pipeline::Rooms {
        store: rooms.store.clone(),
        releases: rooms.releases.clone(),
        builder,
        slugs: rooms.slugs.clone(),
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
    (api, ssh): (TcpListener, TcpListener),
    closed: CancellationToken,
) -> anyhow::Result<[JoinHandle<()>; 2]> {
    let mailer = Mailer::new(&config.smtp, &config.domain, config.data_dir.join("outbox"))?;
    let accounts = {
        let (store, sealer) = (rooms.store.clone(), rooms.sealer.clone());
        Accounts::new(store, mailer, sealer, settings::accounts(config), Clock::system())?
    };
    let accounts = Arc::new(accounts);
    let folders = AppFolders { receiver: rooms.receiver.clone(), caches: config.data_dir.join("caches") };
    let stack = settings::machine_stack(Path::new("/etc/os-release"));
    let parts = apps::Rooms {
        store: rooms.store.clone(),
        releases: rooms.releases.clone(),
        deployer: rooms.deployer.clone(),
        logs: rooms.logs.clone(),
        nodes: rooms.nodes.clone(),
        repositories: Arc::new(folders),
    };
    let apps = Arc::new(Apps::new(parts, settings::apps(config, rooms.runtime, stack)?));
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
        shutdown: closed.clone(),
        store: rooms.store.clone(),
        trusted_proxies: http::origin::TrustedProxies(config.trusted_proxies.as_slice().into()),
        body_limit: config.limits.body_kib * 1024,
    };
    Ok([http::serve(api, http::router(doors, git), closed), ssh])
}

fn announce(config: &ServerConfig, runtime: &str, begun: Instant) {
    let (api, http, ssh) = (config.api.to_string(), config.http.to_string(), config.ssh.to_string());
    tracing::info!(
        api.address = api,
        http.address = http,
        ssh.address = ssh,
        runtime,
        data = %config.data_dir.display(),
        ready_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        "Ready: API and git at {}, apps at {}, ssh at {ssh}, running on the {runtime} runtime.",
        config.public_api(),
        config.public_apps().replacen("://", "://APP.", 1),
    );
    tracing::info!("Not served by this version: TLS ({}).", config.https);
}
