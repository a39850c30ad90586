//! What this server knows of each generation beside what its pods say: that something of it is in the cluster, for a start
//! that finds another runtime chosen; and which release it is of, for a pod that becomes another one while it runs is not
//! made anew.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::server::domain::{ReleaseVersion, WorkloadId};
use crate::server::runtime::{RuntimeError, files as disk};

type Releases = HashMap<WorkloadId, watch::Sender<Option<ReleaseVersion>>>;

/// A file for each generation, and whoever wants to hear of its changes.
pub(super) struct Notes {
    dir: PathBuf,
    releases: Mutex<Releases>,
}

impl Notes {
    /// Those in a folder.
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, releases: Mutex::default() }
    }

    /// Whether something of a generation is in the cluster, or may be.
    pub(super) fn has(&self, id: &WorkloadId) -> bool {
        self.file(id).exists()
    }

    /// The release of a generation, now and whenever it becomes another. Nobody has noted it if somebody else made the pods.
    pub(super) fn release(&self, id: &WorkloadId) -> watch::Receiver<Option<ReleaseVersion>> {
        let mut releases = self.lock();
        let known = releases.entry(id.clone()).or_insert_with(|| {
            // Earlier servers noted nothing but that there is something.
            watch::Sender::new(disk::read_json(&self.file(id)).ok().flatten())
        });
        known.subscribe()
    }

    /// Notes a generation's release. Durable when it returns; its pods tell it from then on.
    pub(super) fn write(&self, id: &WorkloadId, release: ReleaseVersion) -> Result<(), RuntimeError> {
        if *self.release(id).borrow() == Some(release) && self.has(id) {
            return Ok(());
        }
        disk::write_json(&self.file(id), &release, true).map_err(noting)?;
        if let Some(known) = self.lock().get(id) {
            known.send_replace(Some(release));
        }
        Ok(())
    }

    /// Nothing of it is left.
    pub(super) fn forget(&self, id: &WorkloadId) -> Result<(), RuntimeError> {
        disk::remove_file(&self.file(id)).map_err(noting)?;
        self.lock().remove(id);
        Ok(())
    }

    fn file(&self, id: &WorkloadId) -> PathBuf {
        self.dir.join(disk::generation_name(id)).with_added_extension("json")
    }

    fn lock(&self) -> MutexGuard<'_, Releases> {
        self.releases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn noting(source: io::Error) -> RuntimeError {
    RuntimeError::Io { context: "noting what is in the cluster".to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::domain::{AppName, ProcessType};

    #[test]
    fn a_release_outlives_the_server_and_is_told_when_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let id = WorkloadId { app: AppName::parse("shop").unwrap(), process: ProcessType::web(), generation: 7 };
        let notes = Notes::new(dir.path().to_owned());
        let mut heard = notes.release(&id);
        assert_eq!((*heard.borrow_and_update(), notes.has(&id)), (None, false));
        notes.write(&id, ReleaseVersion(3)).unwrap();
        assert!(heard.has_changed().unwrap());
        assert_eq!(*heard.borrow_and_update(), Some(ReleaseVersion(3)));
        notes.write(&id, ReleaseVersion(3)).unwrap();
        assert!(!heard.has_changed().unwrap(), "the same is no news");

        let next = Notes::new(dir.path().to_owned());
        assert_eq!(*next.release(&id).borrow(), Some(ReleaseVersion(3)));
        next.forget(&id).unwrap();
        assert_eq!((*next.release(&id).borrow(), next.has(&id)), (None, false));

        std::fs::write(notes.file(&id), "null").unwrap();
        let noted_by_an_earlier_server = Notes::new(dir.path().to_owned());
        assert_eq!(
            (*noted_by_an_earlier_server.release(&id).borrow(), noted_by_an_earlier_server.has(&id)),
            (None, true)
        );
    }
}
