//! What an app's people have decided about the requests of its visitors.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::server::domain::{AppId, Canonical, Rules};

use super::activity::record;
use super::fronts::count;
use super::{Store, StoreError};

impl Store {
    /// Replaces the app's rules; `summary` is what its activity tells.
    pub async fn set_rules(&self, app: AppId, rules: Rules, summary: String, by: String) -> Result<(), StoreError> {
        self.write(move |tx| {
            if count(tx, "SELECT count(*) FROM apps WHERE id = ?1", app)? == 0 {
                return Err(StoreError::NotFound);
            }
            let replace = "INSERT OR REPLACE INTO router_rules \
                (app, connections, body_bytes, affinity, h2c, canonical, access_log, maintenance_page) \
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
            let body = rules.body_bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
            let canonical = rules.canonical.map(Canonical::as_str);
            let connections = rules.connections.map(std::num::NonZeroU32::get);
            let page = rules.maintenance_page.as_deref();
            let (affinity, h2c, log) = (rules.affinity, rules.h2c, rules.access_log);
            tx.execute(replace, params![app.0, connections, body, affinity, h2c, canonical, log, page])?;
            record(tx, app, "router", &summary, &by)
        })
        .await
    }
}

/// The app's rules; those that nobody decided are the default.
pub(super) fn of(db: &Connection, app: AppId) -> Result<Rules, StoreError> {
    let mut query = db.prepare_cached("SELECT * FROM router_rules WHERE app = ?1")?;
    let rules = query.query_row([app.0], |row| Ok(read(row))).optional()?;
    rules.transpose().map(Option::unwrap_or_default)
}

fn read(row: &Row<'_>) -> Result<Rules, StoreError> {
    let canonical: Option<String> = row.get("canonical")?;
    let canonical =
        canonical.map(|text| Canonical::parse(&text).ok_or(StoreError::Damaged("canonical"))).transpose()?;
    let connections: Option<u32> = row.get("connections")?;
    let body: Option<i64> = row.get("body_bytes")?;
    let page: Option<String> = row.get("maintenance_page")?;
    Ok(Rules {
        connections: connections.and_then(std::num::NonZeroU32::new),
        body_bytes: body
            .map(|bytes| u64::try_from(bytes).map_err(|_| StoreError::Damaged("body_bytes")))
            .transpose()?,
        affinity: row.get("affinity")?,
        h2c: row.get("h2c")?,
        canonical,
        access_log: row.get("access_log")?,
        maintenance_page: page.map(Arc::from),
    })
}
