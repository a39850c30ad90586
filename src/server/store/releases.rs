//! Releases. They are made by an operation (`operations.rs`), which alone changes their state; here they are read.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, Transaction, params};
use uuid::Uuid;

use crate::server::domain::{AppId, ConfigVars, Formation, Release, ReleaseState, ReleaseVersion, Slug};

use super::rows::{json, parsed, time, to_json};
use super::{SlugId, Store, StoreError, slugs};

/// A release as stored: its configuration still sealed.
#[derive(Debug, Clone)]
pub struct StoredRelease {
    /// Whose.
    pub app: AppId,
    /// Its number.
    pub version: ReleaseVersion,
    /// Its other name.
    pub rollback_id: Uuid,
    /// The code and its row; `None` for config set before the first push.
    pub slug: Option<(SlugId, Slug)>,
    /// The configuration, sealed.
    pub sealed_config: Vec<u8>,
    /// What it last ran with.
    pub formation: Formation,
    /// What made it, one line.
    pub summary: String,
    /// The address of who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// What became of it.
    pub state: ReleaseState,
}

impl StoredRelease {
    /// The release, with its configuration opened by the caller.
    pub fn with_config(self, config: ConfigVars) -> Release {
        Release {
            app: self.app,
            version: self.version,
            rollback_id: self.rollback_id,
            slug: self.slug.map(|(_, slug)| slug),
            config,
            formation: self.formation,
            summary: self.summary,
            created_by: self.created_by,
            created_at: self.created_at,
            state: self.state,
        }
    }
}

/// What a new release is made of, beside its number and its sealed configuration.
#[derive(Debug, Clone)]
pub struct NewRelease {
    /// The code.
    pub slug: Option<SlugId>,
    /// What it is to run with.
    pub formation: Formation,
    /// What made it, one line.
    pub summary: String,
}

const SELECT: &str = "SELECT r.app, r.version, r.rollback_id, r.slug, r.config, r.summary, r.created_by, r.created_at, r.state,
      coalesce((SELECT s.formation FROM scalings AS s WHERE s.app = r.app AND s.release = r.version ORDER BY s.id DESC LIMIT 1),
               r.formation) AS formation,
      digest, size, sha, stack, kind, processes, customer_app_name, customer_app_version, capabilities
    FROM releases AS r LEFT JOIN slugs ON slugs.id = r.slug ";

impl Store {
    /// An app's releases, newest first.
    pub async fn releases_of(&self, app: AppId) -> Result<Vec<StoredRelease>, StoreError> {
        self.read(move |db| {
            let sql = format!("{SELECT} WHERE r.app = ?1 ORDER BY r.version DESC");
            db.prepare_cached(&sql)?.query_and_then([app.0], release)?.collect()
        })
        .await
    }

    /// One release by number.
    pub async fn release(&self, app: AppId, version: ReleaseVersion) -> Result<StoredRelease, StoreError> {
        self.read(move |db| one(db, "WHERE r.app = ?1 AND r.version = ?2", params![app.0, version.0])).await
    }

    /// One release by its other name.
    pub async fn release_by_rollback_id(&self, app: AppId, id: Uuid) -> Result<StoredRelease, StoreError> {
        self.read(move |db| one(db, "WHERE r.app = ?1 AND r.rollback_id = ?2", params![app.0, id.to_string()])).await
    }

    /// The release that is meant to run.
    pub async fn live_release(&self, app: AppId) -> Result<Option<StoredRelease>, StoreError> {
        self.read(move |db| {
            match one(db, "WHERE r.app = ?1 AND r.version = (SELECT live FROM apps WHERE id = ?1)", params![app.0]) {
                Err(StoreError::NotFound) => Ok(None),
                other => other.map(Some),
            }
        })
        .await
    }
}

/// Writes a release in state `deploying`, numbered one more than the newest; `seal` gets that number.
pub(super) fn insert(
    tx: &Transaction<'_>,
    app: AppId,
    by: &str,
    new: &NewRelease,
    seal: impl FnOnce(ReleaseVersion) -> Vec<u8>,
) -> Result<ReleaseVersion, StoreError> {
    let version = ReleaseVersion(newest(tx, app)?.map_or(0, |newest| newest.0) + 1);
    tx.prepare_cached(
        "INSERT INTO releases (app, version, rollback_id, slug, config, formation, summary, created_by, created_at, state)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute(params![
        app.0,
        version.0,
        Uuid::new_v4().to_string(),
        new.slug.map(|slug| slug.0),
        seal(version),
        to_json(&new.formation)?,
        new.summary,
        by,
        Timestamp::now().to_string(),
        ReleaseState::Deploying.as_str(),
    ])?;
    Ok(version)
}

/// Changes what became of a release.
pub(super) fn set_state(
    tx: &Transaction<'_>,
    app: AppId,
    version: ReleaseVersion,
    state: ReleaseState,
) -> Result<(), StoreError> {
    tx.prepare_cached("UPDATE releases SET state = ?3 WHERE app = ?1 AND version = ?2")?.execute(params![
        app.0,
        version.0,
        state.as_str()
    ])?;
    Ok(())
}

pub(super) fn newest(db: &Connection, app: AppId) -> Result<Option<ReleaseVersion>, StoreError> {
    let mut query = db.prepare_cached("SELECT max(version) FROM releases WHERE app = ?1")?;
    let newest: Option<Option<u32>> = query.query_row([app.0], |row| row.get(0)).optional()?;
    Ok(newest.flatten().map(ReleaseVersion))
}

fn one(db: &Connection, which: &str, values: &[&dyn ToSql]) -> Result<StoredRelease, StoreError> {
    let mut query = db.prepare_cached(&format!("{SELECT} {which}"))?;
    let mut rows = query.query(values)?;
    rows.next()?.map_or(Err(StoreError::NotFound), release)
}

fn release(row: &Row<'_>) -> Result<StoredRelease, StoreError> {
    let slug_id: Option<i64> = row.get("slug")?;
    Ok(StoredRelease {
        app: AppId(row.get("app")?),
        version: ReleaseVersion(row.get("version")?),
        rollback_id: parsed(row, "rollback_id", Uuid::parse_str)?,
        slug: slug_id.map(|id| Ok::<_, StoreError>((SlugId(id), slugs::slug(row)?))).transpose()?,
        sealed_config: row.get("config")?,
        formation: json(row, "formation")?,
        summary: row.get("summary")?,
        created_by: row.get("created_by")?,
        created_at: time(row, "created_at")?,
        state: parsed(row, "state", |text| ReleaseState::parse(text).ok_or(()))?,
    })
}
