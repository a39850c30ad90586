//! What visitors meet before an app's replicas: its further hosts, maintenance mode, a canary, rules.

use rusqlite::{OptionalExtension, Transaction, params};

use crate::server::domain::{AppId, AppName, Canary, Front, Hostname};

use super::activity::record;
use super::rows::{parsed, taken};
use super::{Store, StoreError, rules};

impl Store {
    /// The app's front, as it should be.
    pub async fn front(&self, app: AppId) -> Result<Front, StoreError> {
        self.read(move |db| {
            let mut query = db.prepare_cached("SELECT maintenance FROM apps WHERE id = ?1")?;
            let mut rows = query.query_and_then([app.0], |row| row.get(0))?;
            let maintenance = rows.next().ok_or(StoreError::NotFound)??;
            let mut query = db.prepare_cached("SELECT fqdn FROM domains WHERE app = ?1")?;
            let hosts = query.query_and_then([app.0], |row| parsed(row, "fqdn", Hostname::parse_domain))?;
            let hosts = hosts.collect::<Result<_, StoreError>>()?;
            let mut query = db.prepare_cached(
                "SELECT name, weight FROM canaries JOIN apps ON apps.id = canary WHERE canaries.app = ?1",
            )?;
            let canary = query.query_row([app.0], |row| Ok((parsed(row, "name", AppName::parse), row.get("weight")?)));
            let canary = canary.optional()?.map(|(app, weight)| Ok::<_, StoreError>(Canary { app: app?, weight }));
            let rules = rules::of(db, app)?.into();
            Ok(Front { maintenance, hosts, canary: canary.transpose()?, rules })
        })
        .await
    }

    /// Gives the app a further host. [`StoreError::Taken`] if an app has it, [`StoreError::Full`] if this one has
    /// `most` already.
    pub async fn add_domain(&self, app: AppId, host: Hostname, most: usize, by: String) -> Result<(), StoreError> {
        self.write(move |tx| {
            if count(tx, "SELECT count(*) FROM apps WHERE id = ?1", app)? == 0 {
                return Err(StoreError::NotFound);
            }
            if count(tx, "SELECT count(*) FROM domains WHERE app = ?1", app)? >= most {
                return Err(StoreError::Full);
            }
            let insert = "INSERT INTO domains (fqdn, app) VALUES (?1, ?2)";
            tx.execute(insert, params![host.as_str(), app.0]).map_err(taken)?;
            record(tx, app, "domain", &format!("Add the domain {host}."), &by)
        })
        .await
    }

    /// Takes a host away from the app. [`StoreError::NotFound`] if it has no such host.
    pub async fn remove_domain(&self, app: AppId, host: Hostname, by: String) -> Result<(), StoreError> {
        self.write(move |tx| {
            let delete = "DELETE FROM domains WHERE fqdn = ?1 AND app = ?2";
            if tx.execute(delete, params![host.as_str(), app.0])? == 0 {
                return Err(StoreError::NotFound);
            }
            record(tx, app, "domain", &format!("Remove the domain {host}."), &by)
        })
        .await
    }

    /// Sends `weight` percent of the app's visitors to another app, in the place of the one there was.
    pub async fn set_canary(&self, app: AppId, canary: AppId, weight: u8, by: String) -> Result<(), StoreError> {
        self.write(move |tx| {
            let name = tx.query_row("SELECT name FROM apps WHERE id = ?1", [canary.0], |row| row.get::<_, String>(0));
            let name = name.optional()?.ok_or(StoreError::NotFound)?;
            if count(tx, "SELECT count(*) FROM apps WHERE id = ?1", app)? == 0 {
                return Err(StoreError::NotFound);
            }
            let replace = "INSERT OR REPLACE INTO canaries (app, canary, weight) VALUES (?1, ?2, ?3)";
            tx.execute(replace, params![app.0, canary.0, weight])?;
            record(tx, app, "canary", &format!("Send {weight} % of the visitors to {name}."), &by)
        })
        .await
    }

    /// Sends all of the app's visitors to itself again. [`StoreError::NotFound`] if that is not their canary.
    pub async fn remove_canary(&self, app: AppId, canary: AppName, by: String) -> Result<(), StoreError> {
        self.write(move |tx| {
            let delete = "DELETE FROM canaries WHERE app = ?1 AND canary = (SELECT id FROM apps WHERE name = ?2)";
            if tx.execute(delete, params![app.0, canary.as_str()])? == 0 {
                return Err(StoreError::NotFound);
            }
            record(tx, app, "canary", &format!("Send no visitors to {canary}."), &by)
        })
        .await
    }

    /// Puts the maintenance page before the app, or takes it away. As it is already: no error, no record.
    pub async fn set_maintenance(&self, app: AppId, on: bool, by: String) -> Result<(), StoreError> {
        self.write(move |tx| {
            let update = "UPDATE apps SET maintenance = ?2 WHERE id = ?1 AND maintenance <> ?2";
            if tx.execute(update, params![app.0, on])? == 0 {
                return Ok(());
            }
            record(tx, app, "maintenance", if on { "Maintenance mode on." } else { "Maintenance mode off." }, &by)
        })
        .await
    }
}

pub(super) fn count(tx: &Transaction<'_>, sql: &str, app: AppId) -> Result<usize, StoreError> {
    Ok(tx.prepare_cached(sql)?.query_row([app.0], |row| row.get::<_, u32>(0))? as usize)
}
