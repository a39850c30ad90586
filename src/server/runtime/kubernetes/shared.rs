//! What all replicas of one server have in common.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::cluster::Cluster;
use super::notes::Notes;
use super::spec::Scripts;
use crate::server::runtime::SlugAddresses;
use crate::server::runtime::images::Images;
use crate::server::runtime::roster::Roster;

pub(super) struct Shared {
    pub(super) cluster: Cluster,
    pub(super) dir: PathBuf,
    pub(super) notes: Notes,
    pub(super) images: Images,
    pub(super) slugs: Arc<dyn SlugAddresses>,
    pub(super) scripts: Scripts,
    pub(super) roster: Roster,
    /// Every task of this server's.
    pub(super) tasks: TaskTracker,
}

impl Shared {
    /// Where a replica's place in its output is kept.
    pub(super) fn position(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.position"))
    }
}
