//! Builds in a cluster, for servers that have neither bubblewrap nor Docker at hand.
//!
//! A build is a Job of the cluster's with one pod, which is never started anew: what it said would be said twice. It fetches
//! its folders from this server by a signed address and hands in by another what it made of them (`parcels/`), so nodes have
//! to reach this server as they do for slugs. Its output is its pod's log, its end is what the cluster tells of the pod. None
//! of it depends on one connection: a build outlives the cluster's API server, and is ended by the cluster itself if nobody
//! asks for it any more. It does not outlive this server, whose next start sweeps it.
//!
//! Small folders that are read only, an app's variables among them, do not take the way of the others: the cluster is told
//! them as a secret, over its own API.
//!
//! Weaker than on this machine: folders that are read only elsewhere are copies here, which the build may spoil for itself;
//! their way to the build and back is part of its time; output comes line by line; how many processes there may be is the
//! node's to bound (`podPidsLimit`); the disk is looked after by the node, every ten seconds.

mod transfer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::io::StreamReader;
use url::Url;

use self::transfer::{Packed, pack, unpack};
use super::{Bound, Ending, Folder, Job, Sandbox, relay};
use crate::server::domain::{ClusterBuild, ClusterBuildEnd};
use crate::server::parcels::{Parcel, Parcels};
use crate::server::progress::Progress;

/// Beyond a build's own time: until the cluster ends what this server should have ended.
const SLACK: Duration = Duration::from_mins(1);

/// A build that runs.
pub struct RunningBuild {
    /// What it says; ends when there will be no more.
    pub output: mpsc::Receiver<Bytes>,
    /// How it ended.
    pub ended: oneshot::Receiver<ClusterBuildEnd>,
}

/// What is asked of a cluster. Errors are sentences for whoever waits for the build.
#[async_trait]
pub trait BuildCluster: Send + Sync + 'static {
    /// Begins a build, and returns when it runs.
    async fn start(&self, build: &ClusterBuild) -> Result<RunningBuild, String>;

    /// Ends a build at once, and returns when nothing is left of it. One that is not there is no error.
    async fn remove(&self, build: &str) -> Result<(), String>;

    /// Ends all of this server's builds whose names begin so.
    async fn clear(&self, prefix: &str) -> Result<(), String>;
}

/// Runs jobs in a cluster.
pub struct KubernetesSandbox {
    cluster: Arc<dyn BuildCluster>,
    parcels: Arc<Parcels>,
    /// Where pods reach this server.
    server: Url,
}

impl KubernetesSandbox {
    /// On a cluster, whose pods come to the parcels by this address.
    pub fn new(cluster: Arc<dyn BuildCluster>, parcels: Arc<Parcels>, server: Url) -> Self {
        Self { cluster, parcels, server }
    }

    async fn attempt(&self, job: &Job, progress: &Progress) -> Result<Ending, String> {
        let volumes = volumes(&job.folders);
        let file = self.parcels.file().map_err(|error| unusable("packing its folders", error))?;
        let packed = pack(&job.folders, &volumes, file).await;
        let Packed { parcel, secrets, files } = packed.map_err(|error| unusable("packing its folders", error))?;
        let parcel = self.parcels.expect(&job.name, parcel, job.bounds.disk_bytes);
        let mut parcel = parcel.map_err(|error| error.to_string())?;
        let (fetch, hand_in) = parcel.addresses(&self.server, ClusterBuild::STARTING + job.bounds.time + SLACK);
        let (changed, kept): (Vec<&Folder>, Vec<_>) = job.folders.iter().partition(|folder| folder.writable);
        let inside = |folders: Vec<&Folder>| folders.into_iter().map(|folder| folder.inside.clone()).collect();
        let build = ClusterBuild {
            name: job.name.clone(),
            stack: job.stack.clone(),
            command: std::iter::once(&job.program).chain(&job.args).cloned().collect(),
            env: job.env.clone(),
            workdir: job.workdir.clone(),
            volumes,
            files,
            secrets,
            fetch: fetch.into(),
            hand_in: hand_in.into(),
            changed: inside(changed),
            kept: inside(kept),
            memory_bytes: job.bounds.memory_bytes,
            cpu_milli: job.bounds.cpu_milli,
            disk_bytes: job.bounds.disk_bytes,
            time: job.bounds.time + SLACK,
        };
        let running = self.cluster.start(&build).await?;
        let stopped = tokio::select! {
            ended = follow(running, job, progress) => ended?,
            () = parcel.overflows() => Ending::Hit(Bound::Disk),
            () = tokio::time::sleep(job.bounds.time) => Ending::Hit(Bound::Time),
        };
        if matches!(stopped, Ending::Exited(_)) && !bring_back(job, parcel).await? {
            return Ok(Ending::Hit(Bound::Disk));
        }
        Ok(stopped)
    }
}

#[async_trait]
impl Sandbox for KubernetesSandbox {
    async fn clear(&self, prefix: &str) {
        if let Err(error) = self.cluster.clear(prefix).await {
            tracing::warn!("an earlier build cannot be cleared away in the cluster: {error}");
        }
    }

    async fn run(&self, job: Job, progress: &Progress) -> Result<Ending, String> {
        let begun = Begun { cluster: self.cluster.clone(), name: job.name.clone(), removed: false };
        let ended = tokio::select! {
            ended = self.attempt(&job, progress) => ended,
            () = progress.cancelled().cancelled() => Ok(Ending::Cancelled),
        };
        let removed = begun.remove().await;
        let ended = ended?;
        removed.map(|()| ended)
    }
}

/// What is in the cluster of a job; removed also when nobody waits for it any more.
struct Begun {
    cluster: Arc<dyn BuildCluster>,
    name: String,
    removed: bool,
}

impl Begun {
    async fn remove(mut self) -> Result<(), String> {
        self.removed = true;
        self.cluster.remove(&self.name).await
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if self.removed {
            return;
        }
        let (cluster, name) = (self.cluster.clone(), std::mem::take(&mut self.name));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = cluster.remove(&name).await {
                    tracing::warn!("a build stays in the cluster until the next start: {error}");
                }
            });
        }
    }
}

async fn follow(running: RunningBuild, job: &Job, progress: &Progress) -> Result<Ending, String> {
    let output = StreamReader::new(ReceiverStream::new(running.output).map(Ok::<_, std::io::Error>));
    if let Ok(Some(stopped)) = relay(output, progress, job.bounds.output_bytes).await {
        return Ok(stopped);
    }
    match running.ended.await {
        Ok(ClusterBuildEnd::Exited(code)) => Ok(Ending::Exited(code)),
        Ok(ClusterBuildEnd::Memory) => Ok(Ending::Hit(Bound::Memory)),
        Ok(ClusterBuildEnd::Disk) => Ok(Ending::Hit(Bound::Disk)),
        Ok(ClusterBuildEnd::Time) => Ok(Ending::Hit(Bound::Time)),
        Ok(ClusterBuildEnd::Failed(why)) => Err(format!("the build failed in the cluster, {why}")),
        Ok(ClusterBuildEnd::Lost(why)) => Err(format!("the build is gone, {why}: push again")),
        Err(_) => Err("nobody heard how the build ended: push again".to_owned()),
    }
}

/// What the job changed, to where it came from; false if that is more than it may be.
async fn bring_back(job: &Job, parcel: Parcel) -> Result<bool, String> {
    let doing = "bringing its folders back";
    let Some(archives) = parcel.open() else { return Err(unusable(doing, "it handed nothing in")) };
    let folders = job.folders.iter().filter(|folder| folder.writable).map(|folder| folder.host.clone()).collect();
    unpack(archives, folders, job.bounds.disk_bytes).await.map_err(|error| unusable(doing, error))
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
