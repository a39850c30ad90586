//! What is known of each built slug, and which archives must stay.

use std::collections::HashSet;

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Row, params};

use crate::server::domain::{AppId, Slug, SlugDigest, SlugKind, Stack};

use super::rows::{json, parsed, to_json};
use super::{Store, StoreError};

/// A slug's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SlugId(pub i64);

impl Store {
    /// Remembers a slug, before its archive is put into the slug store: from now on a sweep leaves the archive alone.
    pub async fn record_slug(&self, app: AppId, slug: Slug) -> Result<SlugId, StoreError> {
        self.write(move |tx| {
            let id = tx
                .prepare_cached(
                    "INSERT INTO slugs (app, digest, size, sha, stack, kind, processes, customer_app_name, customer_app_version, capabilities, schedules)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
                     ON CONFLICT (app, digest, sha, stack) DO UPDATE SET size = excluded.size, schedules = excluded.schedules
                     RETURNING id",
                )?
                .query_row(
                    params![
                        app.0,
                        slug.digest.as_str(),
                        slug.size as i64,
                        slug.sha,
                        slug.stack.as_str(),
                        to_json(&slug.kind)?,
                        to_json(&slug.processes)?,
                        slug.customer_app_name,
                        slug.customer_app_version,
                        to_json(&slug.capabilities)?,
                        to_json(&slug.schedules)?,
                    ],
                    |row| row.get(0),
                )?;
            Ok(SlugId(id))
        })
        .await
    }

    /// Forgets the slugs that no release came of, of one app or, while no push is under way, of all.
    pub async fn forget_unreleased_slugs(&self, app: Option<AppId>) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute(
                "DELETE FROM slugs WHERE (?1 IS NULL OR app = ?1)
                 AND NOT EXISTS (SELECT 1 FROM releases WHERE releases.slug = slugs.id)",
                [app.map_or(Value::Null, |app| Value::Integer(app.0))],
            )?;
            Ok(())
        })
        .await
    }

    /// The archives that somebody may still ask for: those of live releases, of workloads, of jobs, of pushes under way, and of
    /// each app's newest `releases` releases, if not made before `since`.
    pub async fn slugs_to_keep(&self, releases: u32, since: Timestamp) -> Result<HashSet<SlugDigest>, StoreError> {
        self.read(move |db| {
            let mut query = db.prepare_cached(
                "SELECT digest FROM workloads
                 UNION SELECT digest FROM jobs WHERE state IN ('queued', 'running')
                 UNION SELECT digest FROM slugs WHERE NOT EXISTS (SELECT 1 FROM releases WHERE releases.slug = slugs.id)
                 UNION SELECT slugs.digest FROM releases AS r JOIN slugs ON slugs.id = r.slug
                   WHERE r.state IN ('live', 'deploying') OR (r.created_at >= ?2 AND
                     (SELECT count(*) FROM releases AS newer WHERE newer.app = r.app AND newer.version > r.version) < ?1)",
            )?;
            query
                .query_and_then(params![releases, since.to_string()], |row| parsed(row, "digest", SlugDigest::parse))?
                .collect()
        })
        .await
    }
}

/// The slug in a row that joins `slugs`.
pub(super) fn slug(row: &Row<'_>) -> Result<Slug, StoreError> {
    let kind: SlugKind = json(row, "kind")?;
    Ok(Slug {
        digest: parsed(row, "digest", SlugDigest::parse)?,
        size: row.get::<_, i64>("size")? as u64,
        sha: row.get("sha")?,
        stack: parsed(row, "stack", Stack::parse)?,
        kind,
        processes: json(row, "processes")?,
        customer_app_name: row.get("customer_app_name")?,
        customer_app_version: row.get("customer_app_version")?,
        capabilities: json(row, "capabilities")?,
        schedules: json(row, "schedules")?,
    })
}
