//! The port through which builds run: one program, the folders it sees, its bounds. Where it runs (bubblewrap on this
//! machine, a container) is an adapter's matter.
//!
//! Deliberately absent: secrets in [`Job::env`], which an adapter may put where the whole machine can read it. They
//! go in as files of a folder.

mod bubblewrap;
mod docker;
mod kubernetes;
mod running;
mod usage;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _};

pub use bubblewrap::BubblewrapSandbox;
pub use docker::{DockerBuilds, DockerSandbox, StackImages};
pub use kubernetes::{BuildCluster, KubernetesSandbox, RunningBuild};

use crate::server::domain::Stack;
use crate::server::progress::Progress;

/// The user inside, who owns the job's folders; what else is there is read only.
const ID: u32 = 1000;

/// A place where builds run.
#[async_trait]
pub trait Sandbox: Send + Sync + 'static {
    /// Ends and removes what a killed server left of jobs whose names begin with `prefix`.
    async fn clear(&self, prefix: &str);

    /// Runs a job to its end, passing its output (stdout and stderr as one stream) on as it comes. Nothing of it is
    /// left when this returns, whichever way it ended.
    ///
    /// # Errors
    /// When it could not be run at all: a sentence that says why and what to do.
    async fn run(&self, job: Job, progress: &Progress) -> Result<Ending, String>;
}

/// A program to run.
#[derive(Debug, Clone)]
pub struct Job {
    /// Unique among the running ones; `[a-z0-9-]`.
    pub name: String,
    /// The system it needs around it.
    pub stack: Stack,
    /// The program as seen from inside.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its whole environment. No secrets.
    pub env: Vec<(String, String)>,
    /// The folders it sees beside the system's, in the order they are laid over each other.
    pub folders: Vec<Folder>,
    /// The folder it starts in.
    pub workdir: String,
    /// What it may use.
    pub bounds: Bounds,
}

/// A folder or file shown inside.
#[derive(Debug, Clone)]
pub struct Folder {
    /// Where it lies.
    pub host: PathBuf,
    /// Where it shows.
    pub inside: String,
    /// Whether it can be changed; what lies in such folders counts as [`Bounds::disk_bytes`].
    pub writable: bool,
}

/// What a job may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Memory, in-memory files included.
    pub memory_bytes: u64,
    /// CPU in thousandths of a core: a weight under contention, not a ceiling.
    pub cpu_milli: u64,
    /// Processes and threads at once.
    pub processes: u32,
    /// From start to end.
    pub time: Duration,
    /// Bytes of output.
    pub output_bytes: u64,
    /// Bytes of all writable folders together, what lay there before included.
    pub disk_bytes: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            memory_bytes: 2_000_000_000,
            cpu_milli: 500,
            processes: 1024,
            time: Duration::from_mins(30),
            output_bytes: 64 << 20,
            disk_bytes: 4 << 30,
        }
    }
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// By itself; as a shell counts, 128 + signal when killed by one.
    Exited(i32),
    /// It passed a bound.
    Hit(Bound),
    /// Nobody waits for it any more.
    Cancelled,
}

/// One of [`Bounds`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// [`Bounds::memory_bytes`].
    Memory,
    /// [`Bounds::processes`].
    Processes,
    /// [`Bounds::time`].
    Time,
    /// [`Bounds::output_bytes`].
    Output,
    /// [`Bounds::disk_bytes`].
    Disk,
}

/// Passes output on until it ends (`None`) or passes its bound.
async fn relay(mut output: impl AsyncRead + Unpin, progress: &Progress, most: u64) -> std::io::Result<Option<Ending>> {
    let mut left = most;
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(16 * 1024);
        let read = output.read_buf(&mut buffer).await? as u64;
        if read == 0 {
            return Ok(None);
        }
        if read > left {
            return Ok(Some(Ending::Hit(Bound::Output)));
        }
        left -= read;
        progress.bytes(buffer.split().freeze()).await;
    }
}
