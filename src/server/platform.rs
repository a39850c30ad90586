//! The platform as one value: the only place that names concrete types and connects them. It comes up in the order of
//! [`Platform::start`] and goes down the other way round: doors, operations, visitors, logs.

mod doors;
mod rooms;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::doors::{doors, pipeline};
use self::rooms::{Rooms, connect};
use super::clock::Clock;
use super::config::{ServerConfig, TlsMode};
use super::deployer::Deployer;
use super::drains::Drains;
use super::farewell::Visitors;
use super::http;
use super::ingress;
use super::jobs::Jobs;
use super::joints::{AppMembers, Reception};
use super::listen::Sockets;
use super::logs::Logs;
use super::metering::Metering;
use super::parcels::Parcels;
use super::settings;
use super::succession::Predecessor;

/// A running platform.
pub(super) struct Platform {
    pub(super) deployer: Deployer,
    pub(super) jobs: Jobs,
    pub(super) logs: Logs,
    pub(super) parcels: Arc<Parcels>,
    pub(super) doors: (Vec<JoinHandle<()>>, CancellationToken),
    pub(super) visitors: Visitors,
    pub(super) sockets: Vec<(String, std::net::TcpListener)>,
    pub(super) others_logs: CancellationToken,
    pub(super) lines: JoinHandle<()>,
    /// Until it is closed.
    pub(super) metering: Option<Metering>,
    pub(super) drains: Drains,
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
        // Before the first visitor: a host that is not known is shown no certificate.
        let certificates = rooms.tls.tend(rooms.deployer.routes(), doors_closed.clone());
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
        let mut doors = vec![http::serve(api, door, doors_closed.clone()), ssh, certificates];
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
            parcels: rooms.parcels,
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
