//! What all replicas of one server have in common.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::cluster::Cluster;
use super::notes::Notes;
use super::spec::Scripts;
use crate::server::domain::Stack;
use crate::server::runtime::roster::Roster;
use crate::server::runtime::{RuntimeError, SlugAddresses};

pub(super) struct Shared {
    pub(super) cluster: Cluster,
    pub(super) dir: PathBuf,
    pub(super) notes: Notes,
    pub(super) images: BTreeMap<Stack, String>,
    pub(super) slugs: Arc<dyn SlugAddresses>,
    pub(super) scripts: Scripts,
    pub(super) roster: Roster,
    /// Every task of this server's.
    pub(super) tasks: TaskTracker,
}

impl Shared {
    /// What a stack's apps run in.
    pub(super) fn image(&self, stack: &Stack) -> Result<&str, RuntimeError> {
        self.images.get(stack).map(String::as_str).ok_or_else(|| {
            let known: Vec<_> = self.images.keys().map(Stack::as_str).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            RuntimeError::Unavailable(format!(
                "there is no image for the stack `{stack}` (there are: {known}): describe one in a file `{stack}.toml` \
                 of `docker.stacks_dir`, or choose another stack with `gigalixir stack:set` and push again"
            ))
        })
    }

    /// Where a replica's place in its output is kept.
    pub(super) fn position(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.position"))
    }
}
