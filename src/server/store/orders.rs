//! Certificates on their way, and what has to be tidied up behind them.

use jiff::Timestamp;
use rusqlite::{Row, params};

use super::certificates::names;
use super::rows::{parsed, time, to_json};
use super::{Store, StoreError};
use crate::server::domain::{CertificateName, CertificateOrder, OrderStep};

/// A replaced certificate that the CA has still to be told of.
#[derive(Debug, Clone)]
pub struct Revocation {
    /// Its row.
    pub id: i64,
    /// The CA.
    pub directory: String,
    /// PEM, leaf first.
    pub chain: String,
    /// Not before.
    pub next_at: Timestamp,
}

impl Store {
    /// Every order under way.
    pub async fn certificate_orders(&self) -> Result<Vec<CertificateOrder>, StoreError> {
        self.read(|db| {
            let mut query = db.prepare_cached("SELECT * FROM certificate_orders ORDER BY next_at")?;
            query.query_and_then([], order)?.collect()
        })
        .await
    }

    /// Writes orders down; one that is under way already stays as it is.
    pub async fn place_orders(&self, orders: Vec<CertificateOrder>) -> Result<(), StoreError> {
        self.write(move |tx| {
            let insert = "INSERT OR IGNORE INTO certificate_orders (name, names, step, next_at, revoke)
                VALUES (?1, ?2, ?3, ?4, ?5)";
            let mut insert = tx.prepare_cached(insert)?;
            for order in orders {
                let (step, next) = (order.step.as_str(), order.next_at.to_string());
                insert.execute(params![order.name().as_str(), to_json(&order.names)?, step, next, order.revoke])?;
            }
            Ok(())
        })
        .await
    }

    /// How far an order has come.
    pub async fn keep_order(&self, order: CertificateOrder) -> Result<(), StoreError> {
        self.write(move |tx| {
            let update = "UPDATE certificate_orders SET step = ?2, directory = ?3, url = ?4, key = ?5, attempts = ?6,
                next_at = ?7, last_error = ?8 WHERE name = ?1";
            tx.execute(
                update,
                params![
                    order.name().as_str(),
                    order.step.as_str(),
                    order.directory,
                    order.url,
                    order.key,
                    order.attempts,
                    order.next_at.to_string(),
                    order.last_error,
                ],
            )?;
            Ok(())
        })
        .await
    }

    /// Makes an order that waits due at once, to revoke the certificate before it if asked to.
    pub async fn hurry_order(&self, name: CertificateName, revoke: bool, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx| {
            let update = "UPDATE certificate_orders SET next_at = ?2, revoke = revoke OR ?3 WHERE name = ?1";
            tx.execute(update, params![name.as_str(), now.to_string(), revoke])?;
            Ok(())
        })
        .await
    }

    /// Nobody wants it any more.
    pub async fn drop_order(&self, name: CertificateName) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute("DELETE FROM certificate_orders WHERE name = ?1", [name.as_str()])?;
            Ok(())
        })
        .await
    }

    /// What the CAs have still to be told.
    pub async fn revocations(&self) -> Result<Vec<Revocation>, StoreError> {
        self.read(|db| {
            let mut query = db.prepare_cached("SELECT * FROM revocations ORDER BY next_at")?;
            let revocation = |row: &Row<'_>| {
                let (id, directory, chain) = (row.get("id")?, row.get("directory")?, row.get("chain")?);
                Ok(Revocation { id, directory, chain, next_at: time(row, "next_at")? })
            };
            query.query_and_then([], revocation)?.collect()
        })
        .await
    }

    /// It was told (`None`), or has to be told later.
    pub async fn settle_revocation(&self, id: i64, again: Option<Timestamp>) -> Result<(), StoreError> {
        self.write(move |tx| {
            match again {
                Some(at) => {
                    tx.execute("UPDATE revocations SET next_at = ?2 WHERE id = ?1", params![id, at.to_string()])?
                }
                None => tx.execute("DELETE FROM revocations WHERE id = ?1", [id])?,
            };
            Ok(())
        })
        .await
    }

    /// A record that will be put into the DNS for the order of `name`.
    pub async fn note_record(&self, name: CertificateName, fqdn: String, value: String) -> Result<(), StoreError> {
        self.write(move |tx| {
            let insert = "REPLACE INTO challenge_records (fqdn, value, name) VALUES (?1, ?2, ?3)";
            tx.execute(insert, params![fqdn, value, name.as_str()])?;
            Ok(())
        })
        .await
    }

    /// The records of an order, or all (fqdn, value).
    pub async fn noted_records(&self, name: Option<CertificateName>) -> Result<Vec<(String, String)>, StoreError> {
        self.read(move |db| {
            let mut query = db.prepare("SELECT fqdn, value FROM challenge_records WHERE ?1 IS NULL OR name = ?1")?;
            let name = name.as_ref().map(CertificateName::as_str);
            let rows = query.query_map([name], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// It was taken out.
    pub async fn forget_record(&self, fqdn: String, value: String) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute("DELETE FROM challenge_records WHERE fqdn = ?1 AND value = ?2", params![fqdn, value])?;
            Ok(())
        })
        .await
    }
}

fn order(row: &Row<'_>) -> Result<CertificateOrder, StoreError> {
    Ok(CertificateOrder {
        names: names(row)?,
        step: parsed(row, "step", |text| OrderStep::parse(text).ok_or(()))?,
        directory: row.get("directory")?,
        url: row.get("url")?,
        key: row.get("key")?,
        attempts: row.get("attempts")?,
        next_at: time(row, "next_at")?,
        last_error: row.get("last_error")?,
        revoke: row.get("revoke")?,
    })
}
