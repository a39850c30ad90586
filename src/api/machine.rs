//! The machines that replicas run on, called nodes by those who ask.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// An entry of `GET /api/nodes`.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Its name, as `machine` of a replica has it.
    pub name: String,
    /// Whether it does what it is told.
    pub ready: bool,
    /// Whether new replicas may come to it.
    pub schedulable: bool,
    /// What runs on it (`os`, `kernel`, `kubelet`, `runtime`, `docker`), and of which version.
    pub versions: BTreeMap<String, String>,
    /// What it has.
    pub capacity: Resources,
    /// What of that replicas may have.
    pub allocatable: Resources,
    /// What is told of its state, as its runtime says it.
    pub conditions: Vec<Condition>,
    /// The replicas on it of the apps that one may see.
    pub replicas: Vec<String>,
}

/// What programs need to run.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Thousandths of a core.
    pub cpu_m: u64,
    /// Bytes of memory.
    pub memory: u64,
}

/// One thing that is told of a node.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// What it is about: `Ready`, `MemoryPressure`, `DiskPressure`, `Tainted` …
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Whether that is bad.
    pub bad: bool,
    /// Why, for people; may be empty.
    pub message: String,
}
