//! Plans for tests that have no slugs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;

use super::{Planner, Plans};
use crate::server::builder::BubblewrapSandbox;
use crate::server::domain::SlugDigest;
use crate::server::runtime::{RuntimeError, SlugSource};
use crate::server::store::Store;

struct NoSlugs;

#[async_trait]
impl SlugSource for NoSlugs {
    async fn local_path(&self, digest: &SlugDigest) -> Result<PathBuf, RuntimeError> {
        Err(RuntimeError::SlugMissing(digest.to_string()))
    }
}

/// Plans below `folder`.
pub(crate) fn plans(store: &Store, folder: &Path) -> Plans {
    let planner = Planner::open(folder.join("upgrades"), Arc::new(BubblewrapSandbox::new(None))).unwrap();
    Plans::new(planner, store.clone(), Arc::new(NoSlugs))
}
