//! What should run: the wish that the runtime is told, again and again if need be.

use rusqlite::{Row, params};

use crate::server::domain::{AppId, AppName, ProcessType, SlugDigest, WorkloadId};

use super::rows::parsed;
use super::{Store, StoreError};

/// One generation of one process type, as stored: the whole wish is sealed, for its environment is secret.
#[derive(Debug, Clone)]
pub struct StoredWorkload {
    /// Whose.
    pub app: AppId,
    /// Its name.
    pub id: WorkloadId,
    /// How far it is.
    pub state: WorkloadState,
    /// How many instances shall exist; the sealed wish's own number is where it began.
    pub replicas: u32,
    /// The archive it needs.
    pub digest: SlugDigest,
    /// The sealed wish.
    pub sealed_spec: Vec<u8>,
}

/// How far a generation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkloadState {
    /// Beside the old, not yet routed.
    Rising,
    /// The one that counts.
    Serving,
    /// Replaced: ends when its visitors have left.
    Draining,
}

impl Store {
    /// Remembers new wishes, before the runtime is told of them.
    pub async fn add_workloads(&self, rows: Vec<StoredWorkload>) -> Result<(), StoreError> {
        self.write(move |tx| {
            for row in &rows {
                tx.prepare_cached(
                    "INSERT INTO workloads (app, process, generation, state, replicas, digest, spec)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?
                .execute(params![
                    row.app.0,
                    row.id.process.as_str(),
                    row.id.generation,
                    row.state.as_str(),
                    row.replicas,
                    row.digest.as_str(),
                    row.sealed_spec
                ])?;
            }
            Ok(())
        })
        .await
    }

    /// Every wish there is.
    pub async fn all_workloads(&self) -> Result<Vec<StoredWorkload>, StoreError> {
        self.read(|db| {
            let mut query = db.prepare_cached(
                "SELECT w.*, apps.name FROM workloads AS w JOIN apps ON apps.id = w.app ORDER BY w.app, process, generation",
            )?;
            query.query_and_then([], workload)?.collect()
        })
        .await
    }

    /// Forgets a wish that the runtime has removed.
    pub async fn forget_workload(&self, app: AppId, id: &WorkloadId) -> Result<(), StoreError> {
        let id = id.clone();
        self.write(move |tx| {
            tx.execute(
                "DELETE FROM workloads WHERE app = ?1 AND process = ?2 AND generation = ?3",
                params![app.0, id.process.as_str(), id.generation],
            )?;
            Ok(())
        })
        .await
    }
}

fn workload(row: &Row<'_>) -> Result<StoredWorkload, StoreError> {
    Ok(StoredWorkload {
        app: AppId(row.get("app")?),
        id: WorkloadId {
            app: parsed(row, "name", AppName::parse)?,
            process: parsed(row, "process", ProcessType::parse)?,
            generation: row.get("generation")?,
        },
        state: parsed(row, "state", |text| WorkloadState::parse(text).ok_or(()))?,
        replicas: row.get("replicas")?,
        digest: parsed(row, "digest", SlugDigest::parse)?,
        sealed_spec: row.get("spec")?,
    })
}

impl WorkloadState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Rising => "rising",
            Self::Serving => "serving",
            Self::Draining => "draining",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Rising, Self::Serving, Self::Draining].into_iter().find(|state| state.as_str() == text)
    }
}
