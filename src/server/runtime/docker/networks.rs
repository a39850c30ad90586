//! A network for each app, so that its replicas reach each other and no other app's. Docker's own pool holds about
//! thirty networks, so subnets are ours to choose; and addresses too, for a replica has to know its own before it starts.

use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use tokio::sync::Mutex;

use super::engine::{Engine, Found};
use super::spec::{ADDRESS, APP};
use crate::server::domain::AppName;
use crate::server::runtime::RuntimeError;

/// Addresses of one app: 64, of which Docker keeps three.
const PREFIX: u8 = 26;

/// The networks of one server.
pub(super) struct Networks {
    engine: Engine,
    pool: Ipv4Net,
    known: Mutex<HashMap<String, Network>>,
}

struct Network {
    name: String,
    subnet: Ipv4Net,
    leased: BTreeSet<Ipv4Addr>,
}

/// A replica's place in its app's network.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    pub(super) network: String,
    pub(super) address: Ipv4Addr,
}

impl Networks {
    /// Takes over what there is, with the addresses of these containers.
    pub(super) async fn open(engine: Engine, pool: Ipv4Net, containers: &[Found]) -> Result<Self, RuntimeError> {
        let mut known = HashMap::new();
        for (name, app, subnet) in engine.networks().await? {
            let leased = containers.iter().filter(|found| found.labels.get(APP) == Some(&app));
            let leased = leased.filter_map(|found| found.label(ADDRESS)).collect();
            known.insert(app, Network { name, subnet, leased });
        }
        Ok(Self { engine, pool, known: Mutex::new(known) })
    }

    /// The network of an app, made if need be, and a free address in it.
    pub(super) async fn lease(&self, app: &AppName) -> Result<Lease, RuntimeError> {
        let mut known = self.known.lock().await;
        if !known.contains_key(app.as_str()) {
            let taken: BTreeSet<Ipv4Net> = known.values().map(|network| network.subnet).collect();
            known.insert(app.to_string(), self.make(app, &taken).await?);
        }
        let network = known.get_mut(app.as_str()).ok_or_else(|| full(app))?;
        // The first address is the bridge's own.
        let free = network.subnet.hosts().skip(1).find(|address| !network.leased.contains(address));
        let address = free.ok_or_else(|| full(app))?;
        network.leased.insert(address);
        Ok(Lease { network: network.name.clone(), address })
    }

    /// The lease of a container that was found.
    pub(super) async fn of(&self, found: &Found) -> Option<Lease> {
        let known = self.known.lock().await;
        let network = known.get(found.labels.get(APP)?)?;
        Some(Lease { network: network.name.clone(), address: found.label(ADDRESS)? })
    }

    /// An address is free again; with the last one the network goes.
    pub(super) async fn give_back(&self, app: &AppName, address: Ipv4Addr) {
        let mut known = self.known.lock().await;
        if let Some(network) = known.get_mut(app.as_str()) {
            network.leased.remove(&address);
        }
        self.sweep_in(&mut known).await;
    }

    /// Removes the networks that nobody is in.
    pub(super) async fn sweep(&self) {
        self.sweep_in(&mut *self.known.lock().await).await;
    }

    async fn sweep_in(&self, known: &mut HashMap<String, Network>) {
        let empty: Vec<String> =
            known.iter().filter(|(_, network)| network.leased.is_empty()).map(|(app, _)| app.clone()).collect();
        for app in empty {
            let Some(network) = known.get(&app) else { continue };
            match self.engine.remove_network(&network.name).await {
                Ok(()) => drop(known.remove(&app)),
                // Somebody put a container of theirs into it: it stays until they take it out.
                Err(error) => tracing::debug!(app.name = app, "{error}"),
            }
        }
    }

    async fn make(&self, app: &AppName, taken: &BTreeSet<Ipv4Net>) -> Result<Network, RuntimeError> {
        let name = format!("gigalixir-{}-{app}", self.engine.server);
        let subnets = self.pool.subnets(PREFIX).map_err(|_| full(app))?;
        for subnet in subnets.filter(|subnet| !taken.contains(subnet)) {
            if self.engine.create_network(&name, app.as_str(), subnet).await? {
                return Ok(Network { name, subnet, leased: BTreeSet::new() });
            }
        }
        Err(full(app))
    }
}

fn full(app: &AppName) -> RuntimeError {
    RuntimeError::Unavailable(format!(
        "there is no address left for another replica of `{app}`: an app may have 61 at a time, those of the old release \
         included, and `docker.subnets` in server.toml says how many apps fit"
    ))
}
