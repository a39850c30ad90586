//! Looking into a replica's Erlang node: `/api/apps/A/observer`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The query of `GET /api/apps/A/observer`.
#[cfg_attr(feature = "server", derive(utoipa::IntoParams))]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ObserverQuery {
    /// Which replica, by its name or as `web.2`; any, if none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<String>,
    /// By what processes are chosen: `memory` (the default), `reductions` or `queue`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sort: Option<String>,
    /// How many rows of each kind, 100 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// The application whose supervision tree is wished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<String>,
}

/// How to connect to a replica's node: `GET /api/apps/A/observer/node`. Secret.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Clone, Serialize, Deserialize)]
pub struct Node {
    /// The replica.
    pub replica: String,
    /// The node's name.
    pub node: String,
    /// The cookie that it takes.
    pub cookie: String,
    /// The port of its distribution, as seen in the replica.
    pub port: u16,
}

/// How a node is.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Snapshot {
    /// The replica.
    #[serde(default)]
    pub replica: String,
    /// The node's name.
    pub node: String,
    /// The node as a whole.
    pub system: System,
    /// Its processes, those with the most first.
    pub processes: Vec<Process>,
    /// Its ETS tables, the largest first.
    pub tables: Vec<Table>,
    /// Its ports, the busiest first.
    pub ports: Vec<Port>,
    /// What runs in it.
    pub applications: Vec<Application>,
    /// The supervision tree that was wished, top down.
    #[serde(default)]
    pub tree: Vec<Branch>,
}

/// A node as a whole.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct System {
    /// OTP's release: `25`.
    pub otp: String,
    /// The emulator's version.
    pub erts: String,
    /// Schedulers that are online.
    pub schedulers: u64,
    /// Processes that wait for one.
    pub run_queue: u64,
    /// How long it has been running.
    pub uptime_ms: u64,
    /// Bytes read through ports.
    pub input: f64,
    /// Bytes written through ports.
    pub output: f64,
    /// Work done since it began.
    pub reductions: f64,
    /// Bytes, by what they are used for.
    pub memory: BTreeMap<String, f64>,
    /// Processes there are.
    pub processes: u64,
    /// Processes there may be.
    pub processes_max: Option<u64>,
    /// Ports there are.
    pub ports: Option<u64>,
    /// Ports there may be.
    pub ports_max: Option<u64>,
    /// Atoms there are.
    pub atoms: Option<u64>,
    /// Atoms there may be.
    pub atoms_max: Option<u64>,
    /// ETS tables there are.
    pub tables: u64,
    /// ETS tables there may be.
    pub tables_max: Option<u64>,
    /// The nodes that it is connected to.
    pub sees: Vec<String>,
}

/// A process.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Process {
    /// Its identifier.
    pub pid: String,
    /// Its registered name, or the function that it began with.
    pub name: String,
    /// Bytes.
    pub memory: u64,
    /// Work done.
    pub reductions: u64,
    /// Messages that wait.
    pub queue: u64,
    /// The function that it is in.
    pub current: String,
    /// `waiting`, `running`, …
    pub status: String,
}

/// An ETS table.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Objects in it.
    pub size: u64,
    /// Bytes.
    pub memory: u64,
    /// The process that owns it.
    pub owner: String,
    /// `set`, `bag`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// `public`, `protected` or `private`.
    pub protection: String,
}

/// A port.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Port {
    /// Its identifier.
    pub port: String,
    /// What is behind it.
    pub name: String,
    /// The process that owns it.
    pub owner: String,
    /// Bytes read.
    pub input: u64,
    /// Bytes written.
    pub output: u64,
}

/// A running application.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Application {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it says of itself.
    pub description: String,
}

/// A line of a supervision tree.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Branch {
    /// The child's name.
    pub name: String,
    /// Its process, `undefined` while there is none.
    pub pid: String,
    /// `supervisor` or `worker`.
    #[serde(rename = "type")]
    pub kind: String,
    /// How far below the top.
    pub depth: u16,
}
