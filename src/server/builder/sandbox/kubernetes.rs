//! Builds in a cluster, for servers that have neither bubblewrap nor Docker at hand.
//!
//! A build is one pod. What it needs goes in and what it made comes out through the way that consoles go, the cluster's own
//! exec: so nodes need not reach this server, the image needs no program to fetch or send with, and there is no second door
//! by which something built might come in. What that costs: the folders pass the API server, and a build ends with the
//! connection it is made over. Why no Job of the cluster's: it would start a pod anew that was evicted or deleted, and the
//! new one would know nothing of its folders. The pod has a time after which the cluster itself ends it, whatever becomes
//! of this server.
//!
//! Weaker than on this machine: folders that are read only elsewhere are copies here, which the build may spoil for itself;
//! how many processes there may be is the node's to bound (`podPidsLimit`); the disk is looked after by the node, every
//! ten seconds.

mod transfer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::oneshot;

use self::transfer::{Packed, pack, unpack};
use super::{Bound, Ending, Folder, Job, Sandbox, relay};
use crate::server::domain::Stack;
use crate::server::progress::Progress;

/// Beyond a build's own time, for its folders to come and go.
const TRANSFER: Duration = Duration::from_mins(10);
/// Of what a program that failed says.
const COMPLAINT: u64 = 2000;

/// Takes so many bytes of input as an archive. The way into a pod cannot be closed in one direction alone, so it is told
/// how much comes. Folders that are volumes are not the build's own to change.
const TAKE: &str =
    r#"head -c "$1" | tar --extract --directory / --preserve-permissions --no-same-owner --no-overwrite-dir"#;
/// Starts a program in a folder, with one output.
const START: &str = r#"exec 2>&1; ulimit -c 0; ulimit -f "$1"; cd "$2" || exit; shift 2; exec -- "$@""#;
/// Whether the kernel killed something for memory: by control groups of either version.
const KILLS: &str = "cat /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control 2>/dev/null; true";

/// A pod that does nothing until it is told.
#[derive(Debug, Clone)]
pub struct BuildPod {
    /// Unique among this server's.
    pub name: String,
    /// Whose build image it has.
    pub stack: Stack,
    /// Folders that can be written, empty at first; none lies in another.
    pub volumes: Vec<String>,
    /// Files beside them, and what is in them.
    pub files: Vec<(String, String)>,
    /// Memory, files in memory included.
    pub memory_bytes: u64,
    /// Thousandths of a core: a weight.
    pub cpu_milli: u64,
    /// Bytes of all volumes.
    pub disk_bytes: u64,
    /// Until the cluster ends it.
    pub time: Duration,
}

/// A program in a pod.
pub struct PodProgram {
    /// What it says on its standard output.
    pub output: Box<dyn AsyncRead + Send + Unpin>,
    /// What it says on its standard error.
    pub errors: Box<dyn AsyncRead + Send + Unpin>,
    /// Its exit code; closed without one when it was lost.
    pub ended: oneshot::Receiver<i32>,
}

/// What became of a pod that was not told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is there.
    Runs,
    /// The kernel ended it for its memory.
    Memory,
    /// Its node did for its disk.
    Disk,
    /// The cluster did for its time.
    Time,
    /// Nobody knows.
    Lost,
}

/// What is asked of a cluster. Errors are sentences for whoever waits for the build.
#[async_trait]
pub trait BuildCluster: Send + Sync + 'static {
    /// Makes a pod, and returns when programs can be started in it. Nothing of one that cannot be had is left.
    async fn make(&self, pod: &BuildPod) -> Result<(), String>;

    /// Starts a program in a pod, with a file's bytes as its input; the input does not end after them.
    async fn start(&self, pod: &str, argv: Vec<String>, input: Option<tokio::fs::File>) -> Result<PodProgram, String>;

    /// What has become of a pod.
    async fn fate(&self, pod: &str) -> Fate;

    /// Ends a pod at once, with all that runs in it.
    async fn remove(&self, pod: &str) -> Result<(), String>;

    /// Ends all of this server's pods whose names begin so.
    async fn clear(&self, prefix: &str) -> Result<(), String>;
}

/// Runs jobs in pods.
pub struct KubernetesSandbox {
    cluster: Arc<dyn BuildCluster>,
}

impl KubernetesSandbox {
    /// On a cluster.
    pub fn new(cluster: Arc<dyn BuildCluster>) -> Self {
        Self { cluster }
    }
}

#[async_trait]
impl Sandbox for KubernetesSandbox {
    async fn clear(&self, prefix: &str) {
        if let Err(error) = self.cluster.clear(prefix).await {
            tracing::warn!("an earlier build's pod cannot be cleared away: {error}");
        }
    }

    async fn run(&self, job: Job, progress: &Progress) -> Result<Ending, String> {
        let pod = Pod { cluster: self.cluster.clone(), name: job.name.clone(), removed: false };
        let ended = tokio::select! {
            ended = pod.run(&job, progress) => ended,
            () = progress.cancelled().cancelled() => Ok(Ending::Cancelled),
        };
        let removed = pod.remove().await;
        let ended = ended?;
        removed.map(|()| ended)
    }
}

/// A job's pod; removed also when nobody waits for it any more.
struct Pod {
    cluster: Arc<dyn BuildCluster>,
    name: String,
    removed: bool,
}

impl Drop for Pod {
    fn drop(&mut self) {
        if self.removed {
            return;
        }
        let (cluster, name) = (self.cluster.clone(), std::mem::take(&mut self.name));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = cluster.remove(&name).await {
                    tracing::warn!("a build's pod stays until the next start: {error}");
                }
            });
        }
    }
}

impl Pod {
    async fn remove(mut self) -> Result<(), String> {
        self.removed = true;
        self.cluster.remove(&self.name).await
    }

    async fn run(&self, job: &Job, progress: &Progress) -> Result<Ending, String> {
        let volumes = volumes(&job.folders);
        let (folders, files) =
            pack(&job.folders, &volumes).await.map_err(|error| unusable("packing its folders", error))?;
        let wish = BuildPod {
            name: job.name.clone(),
            stack: job.stack.clone(),
            volumes,
            files,
            memory_bytes: job.bounds.memory_bytes,
            cpu_milli: job.bounds.cpu_milli,
            disk_bytes: job.bounds.disk_bytes,
            time: job.bounds.time + TRANSFER,
        };
        self.cluster.make(&wish).await?;
        self.take(folders).await?;
        let stopped = tokio::select! {
            ended = self.program(job, progress) => ended?,
            () = tokio::time::sleep(job.bounds.time) => Ending::Hit(Bound::Time),
        };
        if matches!(stopped, Ending::Exited(_)) && !self.bring_back(job).await? {
            return Ok(Ending::Hit(Bound::Disk));
        }
        Ok(stopped)
    }

    /// What the job needs, into the pod.
    async fn take(&self, folders: Packed) -> Result<(), String> {
        let argv = bash(TAKE, [folders.bytes.to_string()]);
        let program = self.cluster.start(&self.name, argv, Some(folders.file)).await?;
        self.whole(program, "bringing its folders into the pod").await.map(drop)
    }

    async fn program(&self, job: &Job, progress: &Progress) -> Result<Ending, String> {
        let env = job.env.iter().map(|(name, value)| format!("{name}={value}"));
        // A file's size counts in KiB here.
        let words = [(job.bounds.disk_bytes / 1024).to_string(), job.workdir.clone(), job.program.clone()];
        let start = bash(START, words.into_iter().chain(job.args.iter().cloned()));
        let argv = ["/usr/bin/env".to_owned(), "-i".to_owned()].into_iter().chain(env).chain(start).collect();
        let program = self.cluster.start(&self.name, argv, None).await?;
        let said = relay(program.output, progress, job.bounds.output_bytes).await;
        if let Ok(Some(stopped)) = said {
            return Ok(stopped);
        }
        match program.ended.await {
            Ok(0) => Ok(Ending::Exited(0)),
            Ok(code) => {
                Ok(if self.killed_for_memory().await { Ending::Hit(Bound::Memory) } else { Ending::Exited(code) })
            }
            Err(_) => match self.cluster.fate(&self.name).await {
                Fate::Memory => Ok(Ending::Hit(Bound::Memory)),
                Fate::Disk => Ok(Ending::Hit(Bound::Disk)),
                Fate::Time => Ok(Ending::Hit(Bound::Time)),
                Fate::Runs => Err("the connection to the build broke: push again".to_owned()),
                Fate::Lost => Err("the build's pod is gone: push again".to_owned()),
            },
        }
    }

    async fn killed_for_memory(&self) -> bool {
        let asked = async {
            let program = self.cluster.start(&self.name, bash(KILLS, []), None).await?;
            self.whole(program, "asking for its memory").await
        };
        let said = asked.await.unwrap_or_default();
        let kills = said.lines().filter_map(|line| line.strip_prefix("oom_kill ")?.trim().parse::<u64>().ok());
        kills.sum::<u64>() > 0
    }

    /// What the job changed, out of the pod; false if that is more than it may be.
    async fn bring_back(&self, job: &Job) -> Result<bool, String> {
        let mut left = job.bounds.disk_bytes;
        for folder in job.folders.iter().filter(|folder| folder.writable) {
            let within = job.folders.iter().filter_map(|other| inside(&folder.inside, &other.inside));
            let without = within.map(|path| format!("--exclude=./{path}"));
            let tar = ["tar", "--create", "--directory", folder.inside.as_str(), "--anchored", "--no-wildcards"];
            let argv = tar.iter().map(|word| (*word).to_owned()).chain(without).chain([".".to_owned()]).collect();
            let program = self.cluster.start(&self.name, argv, None).await?;
            match unpack(program.output, &folder.host, left).await {
                Ok(Some(bytes)) => left -= bytes,
                Ok(None) => return Ok(false),
                Err(error) => return Err(unusable(&format!("bringing {} back", folder.inside), error)),
            }
            let mut said = String::new();
            let _ = program.errors.take(COMPLAINT).read_to_string(&mut said).await;
            match program.ended.await {
                Ok(0) => {}
                Ok(code) => {
                    return Err(unusable(&format!("bringing {} back", folder.inside), format!("code {code}: {said}")));
                }
                Err(_) => return Err("the connection to the build broke: push again".to_owned()),
            }
        }
        Ok(true)
    }

    /// Waits for a program that should end well; what it says.
    async fn whole(&self, program: PodProgram, doing: &str) -> Result<String, String> {
        let (mut said, mut complaint) = (String::new(), String::new());
        let mut output = program.output.take(COMPLAINT);
        let mut errors = program.errors.take(COMPLAINT);
        let (read, complained) = tokio::join!(output.read_to_string(&mut said), errors.read_to_string(&mut complaint));
        read.and(complained).map_err(|error| unusable(doing, error))?;
        match program.ended.await {
            Ok(0) => Ok(said),
            Ok(code) => Err(unusable(doing, format!("code {code}: {complaint}"))),
            Err(_) => Err("the connection to the build broke: push again".to_owned()),
        }
    }
}

fn bash(script: &str, words: impl IntoIterator<Item = String>) -> Vec<String> {
    let bash = ["/bin/bash", "-c", script, "-"].map(str::to_owned);
    bash.into_iter().chain(words).collect()
}

/// The folders that lie in no other.
fn volumes(folders: &[Folder]) -> Vec<String> {
    let is_top = |one: &&Folder| !folders.iter().any(|other| inside(&other.inside, &one.inside).is_some());
    folders.iter().filter(|one| one.host.is_dir()).filter(is_top).map(|one| one.inside.clone()).collect()
}

/// The way from one path to another that lies in it.
fn inside<'a>(outer: &str, inner: &'a str) -> Option<&'a str> {
    let path = Path::new(inner).strip_prefix(outer).ok()?.to_str()?;
    (!path.is_empty()).then_some(path)
}

fn unusable(doing: &str, error: impl std::fmt::Display) -> String {
    format!("the build failed in the cluster, {doing}: {error}")
}
