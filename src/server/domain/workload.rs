use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{AppName, ProcessType, ReleaseVersion, Size, SlugDigest, Stack};

/// Names one generation of one process type of one app. A deploy, a restart and a resize each make a new generation,
/// so that new can stand beside old.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WorkloadId {
    /// Whose.
    pub app: AppName,
    /// Which process type.
    pub process: ProcessType,
    /// Rises with every rollout of the platform (the operation's row id), so later is newer.
    pub generation: i64,
}

impl fmt::Display for WorkloadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.app, self.process, self.generation)
    }
}

/// What a runtime is told to run: level-triggered, complete, the same on every runtime.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    /// Its name.
    pub id: WorkloadId,
    /// The release it runs, for `ps`.
    pub release: ReleaseVersion,
    /// How many instances of it shall exist.
    pub replicas: u32,
    /// The archive that becomes `/app`.
    pub slug: SlugDigest,
    /// What the archive was built on, and runs on.
    #[serde(default = "Stack::local")]
    pub stack: Stack,
    /// A shell command line from the Procfile, run by `bash` *inside* the instance.
    pub command: String,
    /// The environment: the platform's variables and the app's config, merged. Secret. The runtime adds what only it
    /// knows per instance: `PORT`, `HOST_INDEX`, `HOSTNAME`, `MY_POD_IP`, and names built from them.
    pub env: BTreeMap<String, String>,
    /// How large each instance is.
    pub size: Size,
    /// When an instance counts as ready.
    pub health: HealthCheck,
}

impl fmt::Debug for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Workload({} {} x{})", self.id, self.release, self.replicas)
    }
}

/// When an instance counts as ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HealthCheck {
    /// A process without a port: ready when it has run this long without ending.
    Uptime(Duration),
    /// Ready when a TCP connection to its `PORT` is accepted.
    Tcp,
    /// Ready when `GET` of this path on its `PORT` answers 200 to 399.
    Http(String),
}
