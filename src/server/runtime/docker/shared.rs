//! What all replicas of one server have in common.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::engine::Engine;
use super::networks::Networks;
use crate::server::domain::Stack;
use crate::server::runtime::roster::Roster;
use crate::server::runtime::{Directory, RuntimeError, SlugSource};

pub(super) struct Shared {
    pub(super) engine: Engine,
    pub(super) networks: Networks,
    pub(super) dir: PathBuf,
    pub(super) images: BTreeMap<Stack, String>,
    /// Where replicas ask who else there is of their app.
    pub(super) directory: Option<Directory>,
    pub(super) slugs: Arc<dyn SlugSource>,
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
                "there is no image for the stack `{stack}` (there are: {known}): name one in `docker.images` of \
                 server.toml, or choose another stack with `gigalixir stack:set` and push again"
            ))
        })
    }

    /// As [`Self::image`], if the daemon has it.
    pub(super) async fn image_at_hand(&self, stack: &Stack) -> Result<&str, RuntimeError> {
        let image = self.image(stack)?;
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
