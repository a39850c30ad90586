//! Where apps' logs are sent, and how far each drain has got.

use jiff::Timestamp;
use rusqlite::{Row, params};

use super::activity::record;
use super::fronts::count;
use super::rows::parsed;
use super::{Store, StoreError};
use crate::server::domain::{AppId, AppName};

/// A drain as stored.
#[derive(Debug, Clone)]
pub struct StoredDrain {
    /// Never used again.
    pub id: i64,
    /// Whose.
    pub app: AppId,
    /// Names it to the other side.
    pub token: String,
    /// Sealed: it may hold a password.
    pub sealed_url: Vec<u8>,
    /// Where in the log the first line begins that was not taken: segment and place.
    pub position: (u64, u64),
    /// Lines taken.
    pub delivered: u64,
    /// Lines lost or refused.
    pub dropped: u64,
    /// What went wrong last, and when.
    pub last_error: Option<(String, Timestamp)>,
}

/// How far a drain has got.
#[derive(Debug, Clone)]
pub struct DrainProgress {
    /// See [`StoredDrain::position`].
    pub segment: u64,
    /// See [`StoredDrain::position`].
    pub place: u64,
    /// Lines taken.
    pub delivered: u64,
    /// Lines lost or refused.
    pub dropped: u64,
    /// What went wrong last, and when.
    pub last_error: Option<(String, Timestamp)>,
}

impl Store {
    /// An app's drains, oldest first.
    pub async fn drains_of(&self, app: AppId) -> Result<Vec<StoredDrain>, StoreError> {
        self.read(move |db| {
            let mut query = db.prepare_cached("SELECT * FROM drains WHERE app = ?1 ORDER BY id")?;
            query.query_and_then([app.0], drain)?.collect()
        })
        .await
    }

    /// Every drain there is, with its app's name.
    pub async fn all_drains(&self) -> Result<Vec<(AppName, StoredDrain)>, StoreError> {
        self.read(|db| {
            let sql = "SELECT drains.*, apps.name FROM drains JOIN apps ON apps.id = drains.app ORDER BY drains.id";
            let mut query = db.prepare_cached(sql)?;
            query.query_and_then([], |row| Ok((parsed(row, "name", AppName::parse)?, drain(row)?)))?.collect()
        })
        .await
    }

    /// Adds a drain. [`StoreError::Full`] if the app has `most` already.
    pub async fn add_drain(
        &self,
        app: AppId,
        token: String,
        sealed_url: Vec<u8>,
        position: (u64, u64),
        (most, shown, by): (usize, String, String),
    ) -> Result<StoredDrain, StoreError> {
        self.write(move |tx| {
            if count(tx, "SELECT count(*) FROM apps WHERE id = ?1", app)? == 0 {
                return Err(StoreError::NotFound);
            }
            if count(tx, "SELECT count(*) FROM drains WHERE app = ?1", app)? >= most {
                return Err(StoreError::Full);
            }
            tx.execute(
                "INSERT INTO drains (app, token, url, segment, place) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![app.0, token, sealed_url, signed(position.0), signed(position.1)],
            )?;
            let id = tx.last_insert_rowid();
            record(tx, app, "drain", &format!("Add the log drain {shown}."), &by)?;
            Ok(StoredDrain { id, app, token, sealed_url, position, delivered: 0, dropped: 0, last_error: None })
        })
        .await
    }

    /// Removes a drain of this app.
    pub async fn remove_drain(&self, app: AppId, id: i64, shown: String, by: String) -> Result<(), StoreError> {
        self.write(move |tx| {
            if tx.execute("DELETE FROM drains WHERE id = ?1 AND app = ?2", params![id, app.0])? == 0 {
                return Err(StoreError::NotFound);
            }
            record(tx, app, "drain", &format!("Remove the log drain {shown}."), &by)
        })
        .await
    }

    /// Remembers how far a drain has got. [`StoreError::NotFound`] if it is no more.
    pub async fn note_drain(&self, id: i64, progress: DrainProgress) -> Result<(), StoreError> {
        self.write(move |tx| {
            let (error, at) = progress.last_error.map(|(text, at)| (text, at.to_string())).unzip();
            let changed = tx
                .prepare_cached(
                    "UPDATE drains SET segment = ?2, place = ?3, delivered = ?4, dropped = ?5, last_error = ?6,
                       last_error_at = ?7 WHERE id = ?1",
                )?
                .execute(params![
                    id,
                    signed(progress.segment),
                    signed(progress.place),
                    signed(progress.delivered),
                    signed(progress.dropped),
                    error,
                    at
                ])?;
            if changed == 0 { Err(StoreError::NotFound) } else { Ok(()) }
        })
        .await
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn drain(row: &Row<'_>) -> Result<StoredDrain, StoreError> {
    let number = |column: &str| row.get::<_, Option<i64>>(column).map(|n| n.unwrap_or_default().unsigned_abs());
    let at: Option<String> = row.get("last_error_at")?;
    let at = at.map(|text| text.parse::<Timestamp>()).transpose().map_err(|_| StoreError::Damaged("last_error_at"))?;
    let error: Option<String> = row.get("last_error")?;
    Ok(StoredDrain {
        id: row.get("id")?,
        app: AppId(row.get("app")?),
        token: row.get("token")?,
        sealed_url: row.get("url")?,
        position: (number("segment")?, number("place")?),
        delivered: number("delivered")?,
        dropped: number("dropped")?,
        last_error: error.zip(at),
    })
}
