//! What all replicas of one server have in common.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::engine::Engine;
use super::networks::Networks;
use crate::server::domain::Stack;
use crate::server::runtime::images::Images;
use crate::server::runtime::roster::Roster;
use crate::server::runtime::{Directory, RuntimeError, SlugSource};

pub(super) struct Shared {
    pub(super) engine: Engine,
    pub(super) networks: Networks,
    pub(super) dir: PathBuf,
    pub(super) images: Images,
    /// Where replicas ask who else there is of their app.
    pub(super) directory: Option<Directory>,
    pub(super) slugs: Arc<dyn SlugSource>,
    pub(super) roster: Roster,
    /// Every task of this server's.
    pub(super) tasks: TaskTracker,
}

impl Shared {
    /// What a stack's apps run in, if the daemon has it.
    pub(super) async fn image_at_hand(&self, stack: &Stack) -> Result<&str, RuntimeError> {
        let image = self.images.of(stack)?;
        if self.engine.has(image).await? {
            return Ok(image);
        }
        Err(RuntimeError::Unavailable(format!(
            "Docker has no image for the stack `{stack}`: `gigalixir stacks` tells how an operator gets it"
        )))
    }

    /// Where a replica's place in its output is kept.
    pub(super) fn position(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.position"))
    }
}
