use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::{AppName, Canary, Hostname, Rules};

/// Everything the router needs to know, as one immutable value: swapped whole, read without a lock.
#[derive(Debug, Clone, Default)]
pub struct RouteTable {
    /// Host → where it leads.
    pub hosts: HashMap<Hostname, Arc<Route>>,
}

/// Where a host leads.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Whose it is.
    pub app: AppName,
    /// What to do with a request.
    pub state: RouteState,
    /// Who gets some of the requests, while it serves.
    pub canary: Option<Canary>,
    /// What holds for every request.
    pub rules: Arc<Rules>,
}

/// What to do with a request.
#[derive(Debug, Clone, PartialEq)]
pub enum RouteState {
    /// Proxy to one of these; never empty.
    Serving(Vec<Backend>),
    /// Its people have closed it for a while, whatever runs.
    Maintenance,
    /// The app was never deployed.
    NothingDeployed,
    /// `web` is scaled to 0.
    ScaledToZero,
    /// It has replicas, and none of them is ready.
    Failing,
}

/// One ready replica.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Backend {
    /// The instance's name, for logs.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
}
