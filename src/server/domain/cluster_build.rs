use std::time::Duration;

use super::Stack;

/// A build as a cluster is asked for it: a program that runs once, in folders that it is given and that it hands in again.
#[derive(Clone)]
pub struct ClusterBuild {
    /// Unique among this server's; `[a-z0-9-]`.
    pub name: String,
    /// Whose build image it needs.
    pub stack: Stack,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Its whole environment.
    pub env: Vec<(String, String)>,
    /// The folder it starts in.
    pub workdir: String,
    /// Folders that can be written, empty at first; none lies in another.
    pub volumes: Vec<String>,
    /// Files beside them, and what is in them.
    pub files: Vec<(String, String)>,
    /// What lies in the volumes: a small archive, which is told to the cluster alone. Secret.
    pub secrets: Vec<u8>,
    /// Where the archive with all the rest is fetched from. Secret.
    pub fetch: String,
    /// Where the archives of the folders that may be changed are handed in, one after the other. Secret.
    pub hand_in: String,
    /// Those folders, in order.
    pub changed: Vec<String>,
    /// What lies in one of them and is not handed in with it.
    pub kept: Vec<String>,
    /// Memory, files in memory included.
    pub memory_bytes: u64,
    /// Thousandths of a core: a weight.
    pub cpu_milli: u64,
    /// Bytes of all volumes.
    pub disk_bytes: u64,
    /// From its start until the cluster itself ends it.
    pub time: Duration,
}

impl ClusterBuild {
    /// For it to begin: its pod scheduled, its image pulled.
    pub const STARTING: Duration = Duration::from_mins(10);
}

/// How it ended. Words are for whoever waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterBuildEnd {
    /// By itself, with this code.
    Exited(i32),
    /// The kernel killed of it for its memory.
    Memory,
    /// Its node ended it for its disk.
    Disk,
    /// The cluster ended it for its time.
    Time,
    /// It could not begin, or not hand in what it had made.
    Failed(String),
    /// It is not there any more.
    Lost(String),
}
