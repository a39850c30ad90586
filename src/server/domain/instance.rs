use std::net::SocketAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ReleaseVersion, Size, WorkloadId};

/// One replica as a runtime sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// Unique on the platform: the pod name of `ps` and of the logs.
    pub name: String,
    /// What it is an instance of.
    pub workload: WorkloadId,
    /// What it runs.
    pub release: ReleaseVersion,
    /// How large it is, for the meter.
    pub size: Size,
    /// Its `HOST_INDEX`: 1-based among the workload's instances; `web.1` in the logs.
    pub index: u32,
    /// What it is doing.
    pub state: InstanceState,
    /// Where it listens, as seen from the server; `None` while unknown.
    pub address: Option<SocketAddr>,
    /// Where those of its app find its Erlang node, should it be one; `None` where nobody can know.
    pub node: Option<SocketAddr>,
    /// The machine it is on, as its runtime calls it; `None` while none is chosen.
    #[serde(default)]
    pub machine: Option<String>,
    /// How often it was started anew after it had ended by itself.
    pub restarts: u32,
    /// When its present run began.
    pub started_at: Option<Timestamp>,
    /// How its last run ended.
    pub last_exit: Option<Exit>,
    /// Why it does not get on, in the words of who runs it; `None` where nothing is known to be wrong.
    #[serde(default)]
    pub trouble: Option<String>,
}

/// What an instance is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum InstanceState {
    /// Its process runs (or is being made), its health check has not passed yet.
    Starting,
    /// Its health check has passed.
    Ready,
    /// It ended by itself and waits to be started anew.
    Crashed,
    /// It was told to end.
    Stopping,
    /// It ran once and has ended; `last_exit` tells how.
    Ended,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// As a shell counts: 128 + signal when killed by one.
    pub code: i32,
    /// Why.
    pub reason: ExitReason,
    /// When.
    pub at: Timestamp,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitReason {
    /// With code 0.
    Completed,
    /// With another code or by a signal.
    Error,
    /// The kernel killed it for passing its memory limit.
    OOMKilled,
    /// It was ended for passing its time limit.
    TimedOut,
    /// Nobody saw its end: the machine went down, or what watched it was killed.
    Lost,
}
