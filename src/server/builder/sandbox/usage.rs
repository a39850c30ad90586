//! What a running job uses that no kernel limit stops: the disk below its folders. And how often the kernel refused
//! it a process, which tells a fork bomb from a busy build.
//!
//! Weaker than a quota: between two looks a job can write as much as the disk takes in that time. One file alone
//! cannot (`RLIMIT_FSIZE`).

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use walkdir::WalkDir;

use super::{Bound, Job};

/// Refused forks that make a job a fork bomb: a busy `make -j` sees a few and recovers.
const REFUSED_FORKS: u64 = 100;

/// What every file and folder counts beside its blocks, so that empty ones cannot fill the disk either.
const INODE_BYTES: u64 = 256;

/// What to look at.
#[derive(Debug, Clone)]
pub(super) struct Usage {
    /// The job's writable folders.
    folders: Vec<PathBuf>,
    /// What they may hold.
    disk_bytes: u64,
    /// Folders of the job's cgroup.
    cgroup: Vec<PathBuf>,
    /// Whether a look found that the kernel had refused a process.
    refused: Arc<AtomicBool>,
}

impl Usage {
    /// Of a job in a cgroup, given by its folders.
    pub(super) fn new(job: &Job, cgroup: Vec<PathBuf>) -> Self {
        let folders = job.folders.iter().filter(|folder| folder.writable).map(|folder| folder.host.clone()).collect();
        Self { folders, disk_bytes: job.bounds.disk_bytes, cgroup, refused: Arc::default() }
    }

    /// Looks again and again, and returns with the first bound it finds passed. Rests twenty times as long as a look
    /// takes, so that watching costs at most a twentieth.
    pub(super) async fn watch(&self) -> Bound {
        let mut rest = Duration::from_millis(250);
        loop {
            tokio::time::sleep(rest).await;
            let refused = refused_forks(&self.cgroup);
            self.refused.fetch_or(refused > 0, Ordering::Relaxed);
            if refused >= REFUSED_FORKS {
                return Bound::Processes;
            }
            let (usage, begun) = (self.clone(), Instant::now());
            let full = tokio::task::spawn_blocking(move || usage.disk_is_full()).await;
            if full.unwrap_or(false) {
                return Bound::Disk;
            }
            rest = (begun.elapsed() * 20).clamp(Duration::from_millis(250), Duration::from_secs(20));
        }
    }

    /// Whether a look, while it was watched, found that the kernel had refused it a process.
    pub(super) fn forks_were_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// Whether the folders hold more than they may. Stops counting as soon as it knows.
    pub(super) fn disk_is_full(&self) -> bool {
        let entries = self.folders.iter().flat_map(|folder| WalkDir::new(folder).into_iter().flatten());
        let mut bytes = 0;
        for metadata in entries.filter_map(|entry| entry.metadata().ok()) {
            bytes += metadata.blocks() * 512 + INODE_BYTES;
            if bytes >= self.disk_bytes {
                return true;
            }
        }
        false
    }
}

/// How often a cgroup, given by its folders, refused a process.
pub(super) fn refused_forks(cgroup: &[PathBuf]) -> u64 {
    let events = cgroup.iter().filter_map(|folder| fs::read_to_string(folder.join("pids.events")).ok());
    events.filter_map(|text| text.trim().strip_prefix("max ")?.parse::<u64>().ok()).sum()
}
