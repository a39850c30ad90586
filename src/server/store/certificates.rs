//! Certificates, the CA's accounts and the platform's own CA. Keys come in sealed and go out sealed.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::rows::{json, parsed, time, to_json};
use super::{Store, StoreError};
use crate::server::domain::{AppId, Certificate, CertificateName, CertificateSource};

impl Store {
    /// The platform's own CA: certificate (PEM) and sealed key.
    pub async fn authority(&self) -> Result<Option<(String, Vec<u8>)>, StoreError> {
        self.read(|db| {
            let query = "SELECT certificate, key FROM authority WHERE id = 1";
            Ok(db.query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
        })
        .await
    }

    /// Keeps the platform's own CA, unless there is one; answers with the one there is.
    pub async fn keep_authority(&self, certificate: String, key: Vec<u8>) -> Result<(String, Vec<u8>), StoreError> {
        self.write(move |tx| {
            let insert = "INSERT OR IGNORE INTO authority (id, certificate, key) VALUES (1, ?1, ?2)";
            tx.execute(insert, params![certificate, key])?;
            let query = "SELECT certificate, key FROM authority WHERE id = 1";
            Ok(tx.query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?)))?)
        })
        .await
    }

    /// The sealed account with a CA.
    pub async fn acme_account(&self, directory: String) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(move |db| {
            let query = "SELECT credentials FROM acme_accounts WHERE directory = ?1";
            Ok(db.query_row(query, [directory], |row| row.get(0)).optional()?)
        })
        .await
    }

    /// Keeps an account.
    pub async fn keep_acme_account(&self, directory: String, sealed: Vec<u8>) -> Result<(), StoreError> {
        self.write(move |tx| {
            let replace = "REPLACE INTO acme_accounts (directory, credentials) VALUES (?1, ?2)";
            tx.execute(replace, params![directory, sealed])?;
            Ok(())
        })
        .await
    }

    /// The CA knows it no more.
    pub async fn forget_acme_account(&self, directory: String) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute("DELETE FROM acme_accounts WHERE directory = ?1", [directory])?;
            Ok(())
        })
        .await
    }

    /// Every certificate.
    pub async fn certificates(&self) -> Result<Vec<Certificate>, StoreError> {
        self.read(|db| {
            let mut query = db.prepare_cached("SELECT * FROM certificates ORDER BY name, source")?;
            query.query_and_then([], certificate)?.collect()
        })
        .await
    }

    /// Keeps a certificate in place of the one of that name and source.
    pub async fn keep_certificate(&self, kept: Certificate) -> Result<(), StoreError> {
        self.write(move |tx| keep(tx, &kept)).await
    }

    /// Keeps what came of an order, and ends the order. The one before is to be revoked if the order says so.
    pub async fn certificate_issued(&self, issued: Certificate) -> Result<(), StoreError> {
        self.write(move |tx| {
            let name = issued.name().as_str();
            let revoke = "INSERT INTO revocations (directory, chain, next_at)
                SELECT c.directory, c.chain, ?2 FROM certificates c JOIN certificate_orders o ON o.name = c.name
                WHERE c.name = ?1 AND c.source = 'acme' AND c.directory IS NOT NULL AND o.revoke";
            tx.execute(revoke, params![name, issued.not_before.to_string()])?;
            keep(tx, &issued)?;
            tx.execute("DELETE FROM certificate_orders WHERE name = ?1", [name])?;
            Ok(())
        })
        .await
    }

    /// When the next one is due, and when the CA is asked again.
    pub async fn plan_renewal(
        &self,
        name: CertificateName,
        renew: Timestamp,
        ask: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            let update = "UPDATE certificates SET renew_at = ?2, ask_at = ?3 WHERE name = ?1 AND source = 'acme'";
            tx.execute(update, params![name.as_str(), renew.to_string(), ask.to_string()])?;
            Ok(())
        })
        .await
    }

    /// Forgets a certificate. [`StoreError::NotFound`] if there is none, or, for an own one, if it is another app's.
    pub async fn forget_certificate(
        &self,
        name: CertificateName,
        source: CertificateSource,
        app: Option<AppId>,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            let delete = "DELETE FROM certificates WHERE name = ?1 AND source = ?2 AND app IS ?3";
            match tx.execute(delete, params![name.as_str(), source.as_str(), app.map(|app| app.0)])? {
                0 => Err(StoreError::NotFound),
                _ => Ok(()),
            }
        })
        .await
    }
}

fn keep(tx: &Transaction<'_>, kept: &Certificate) -> Result<(), StoreError> {
    let text = |time: Option<Timestamp>| time.map(|time| time.to_string());
    let replace = "REPLACE INTO certificates
        (name, source, names, issuer, chain, key, not_before, not_after, directory, renew_at, ask_at, app)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
    let values = params![
        kept.name().as_str(),
        kept.source.as_str(),
        to_json(&kept.names)?,
        kept.issuer,
        kept.chain,
        kept.key,
        kept.not_before.to_string(),
        kept.not_after.to_string(),
        kept.directory,
        text(kept.renew_at),
        text(kept.ask_at),
        kept.app.map(|app| app.0),
    ];
    tx.prepare_cached(replace)?.execute(values)?;
    Ok(())
}

fn certificate(row: &Row<'_>) -> Result<Certificate, StoreError> {
    Ok(Certificate {
        names: names(row)?,
        source: parsed(row, "source", |text| CertificateSource::parse(text).ok_or(()))?,
        issuer: row.get("issuer")?,
        chain: row.get("chain")?,
        key: row.get("key")?,
        not_before: time(row, "not_before")?,
        not_after: time(row, "not_after")?,
        directory: row.get("directory")?,
        renew_at: optional_time(row, "renew_at")?,
        ask_at: optional_time(row, "ask_at")?,
        app: row.get::<_, Option<i64>>("app")?.map(AppId),
    })
}

/// The names of a certificate or an order: at least one.
pub(super) fn names(row: &Row<'_>) -> Result<Vec<CertificateName>, StoreError> {
    let names: Vec<CertificateName> = json(row, "names")?;
    if names.is_empty() { Err(StoreError::Damaged("names")) } else { Ok(names) }
}

fn optional_time(row: &Row<'_>, column: &'static str) -> Result<Option<Timestamp>, StoreError> {
    match row.get::<_, Option<String>>(column)? {
        Some(text) => Ok(Some(text.parse().map_err(|_| StoreError::Damaged(column))?)),
        None => Ok(None),
    }
}
