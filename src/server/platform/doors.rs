//! The ways in for people: pushes, the API, ssh.

use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::rooms::Rooms;
use crate::server::actions::account::Accounts;
use crate::server::actions::apps::{self, Apps};
use crate::server::builder::Builder;
use crate::server::clock::Clock;
use crate::server::config::ServerConfig;
use crate::server::http::{self, Doors, git};
use crate::server::joints::{AppFolders, AppLogs, Gate, PackRepositories};
use crate::server::mail::Mailer;
use crate::server::pipeline::{self, Pipeline};
use crate::server::settings;
use crate::server::ssh;

/// What conducts a push.
pub(super) async fn pipeline(config: &ServerConfig, rooms: &Rooms) -> anyhow::Result<Arc<Pipeline>> {
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

/// The API with git, ready to be served, and ssh, which is served.
pub(super) async fn doors(
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
        parcels: rooms.parcels.clone(),
        shutdown: closed,
        store: rooms.store.clone(),
        trusted_proxies: http::origin::TrustedProxies(config.trusted_proxies.as_slice().into()),
        tls: rooms.tls.clone(),
        traffic: rooms.router.traffic(),
        body_limit: config.limits.body_kib * 1024,
    };
    Ok((http::door(doors, git), ssh))
}
