//! How long slugs are kept: what a sweep must leave, and so what a rollback can still restore.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};

use crate::server::domain::SlugDigest;
use crate::server::store::StoreError;

use super::{ReleaseError, Releases};

/// Which releases can still be rolled back to.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    /// The newest so many of each app.
    pub releases: u32,
    /// None older than this, in days.
    pub days: u32,
}

impl Default for Keep {
    fn default() -> Self {
        Self { releases: 20, days: 365 }
    }
}

impl Releases {
    /// Every archive that somebody may still ask for: live releases and workloads, whatever their age; pushes under
    /// way; and the releases within the limit. What is not in here may be swept.
    pub async fn keep_set(&self) -> Result<HashSet<SlugDigest>, ReleaseError> {
        let age = SignedDuration::from_hours(24 * i64::from(self.keep.days));
        let since = Timestamp::now().checked_sub(age).map_err(|_| StoreError::Damaged("clock"))?;
        Ok(self.store.slugs_to_keep(self.keep.releases, since).await?)
    }
}
