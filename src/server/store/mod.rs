//! All state, all SQL. SQLite in WAL mode is the one truth; every method takes and returns domain types.
//!
//! One thread owns the writing connection and commits in groups; readers take connections from a small pool. What is
//! secret (config, cookies, keys) is sealed before it gets here or stored as a hash. Nothing else opens the database.

mod accounts;
mod activity;
mod apps;
mod certificates;
mod connection;
mod drains;
mod email_changes;
mod fronts;
mod glances;
mod jobs;
mod mfa;
mod migrations;
mod operations;
mod orders;
mod payments;
mod permissions;
mod releases;
mod resets;
mod rows;
mod rules;
mod schedules;
mod signups;
mod slugs;
mod ssh_keys;
#[cfg(test)]
pub(crate) mod testing;
mod upgrades;
mod usage;
mod workloads;

use std::path::Path;

use tokio::sync::watch;

pub use accounts::{Digest, NewKey};
pub use activity::Activity;
pub use connection::Store;
pub use drains::{DrainProgress, StoredDrain};
pub use email_changes::NewEmailChange;
pub use glances::Glance;
pub use jobs::{NewJob, OpenJob, Seen};
pub use mfa::StoredMfa;
pub use operations::{Commit, Kind, Operation, OperationId, PushRef};
pub use orders::Revocation;
pub use releases::{NewRelease, StoredRelease};
pub use signups::{CodeCheck, Finish, NewSignup, Plan, Signup, SignupsRule};
pub use slugs::SlugId;
pub use ssh_keys::StoredSshKey;
pub use upgrades::OpenUpgrade;
pub use usage::{Meter, Settlement, Used};
pub use workloads::{StoredWorkload, WorkloadState};

/// Why the store refused.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A newer gigalixir wrote this database.
    #[error(
        "the database is at version {found}, this gigalixir knows {known}: run the newer gigalixir, or restore an older database"
    )]
    TooNew {
        /// The database's.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// The row is not there.
    #[error("not found")]
    NotFound,
    /// A row of that name is already there.
    #[error("already taken")]
    Taken,
    /// There are as many rows of that kind as may be.
    #[error("as many as are allowed")]
    Full,
    /// A stored value does not parse: the database was edited by hand or is damaged.
    #[error("stored {0} is damaged")]
    Damaged(&'static str),
    /// SQLite's refusal.
    #[error("database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The disk's refusal, or a group of writes that could not be committed.
    #[error("database: {0}")]
    Io(String),
    /// The writer has ended (the server is stopping).
    #[error("the store is closed")]
    Closed,
}

impl Store {
    /// Opens (or makes) the database at `path`, mode 0600, and brings it to the present version.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        connection::open(path)
    }

    /// Wakes whenever somebody may have lost access: a key, a role, an app or an account is gone. Who lets people stay
    /// longer than one request subscribes first, then looks, and looks again at each change.
    pub fn access_changes(&self) -> watch::Receiver<()> {
        self.access.subscribe()
    }

    fn access_changed(&self) {
        self.access.send_replace(());
    }

    /// Reads something; for health checks.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.read(|db| Ok(db.query_row("SELECT 1", [], |_| Ok(()))?)).await
    }
}
