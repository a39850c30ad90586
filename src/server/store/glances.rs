//! What lists of apps show, in one read however long they are; a release's sealed config is not touched.

use rusqlite::{Connection, OptionalExtension, params};

use crate::server::domain::{App, AppId, ReleaseVersion, Slug, UserId};

use super::{Store, StoreError, apps, releases, slugs};

/// An app, and what is shown beside it.
#[derive(Debug, Clone)]
pub struct Glance {
    /// The app.
    pub app: App,
    /// Its newest release; `None` before the first.
    pub newest: Option<ReleaseVersion>,
    /// The code that is meant to run.
    pub live: Option<Slug>,
}

impl Store {
    /// A glance at one app.
    pub async fn glance(&self, app: App) -> Result<Glance, StoreError> {
        self.read(move |db| at(db, app)).await
    }

    /// Glances at the apps a person owns or has a role in, by name.
    pub async fn glances_open_to(&self, user: UserId) -> Result<Vec<Glance>, StoreError> {
        self.read(move |db| {
            let sql = "SELECT * FROM apps WHERE owner = ?1 OR id IN (SELECT app FROM permissions WHERE user = ?1)
                       ORDER BY name";
            apps::all(db, sql, params![user.0])?.into_iter().map(|app| at(db, app)).collect()
        })
        .await
    }

    /// The code that is meant to run.
    pub async fn live_slug(&self, app: AppId) -> Result<Option<Slug>, StoreError> {
        self.read(move |db| live(db, app)).await
    }
}

fn at(db: &Connection, app: App) -> Result<Glance, StoreError> {
    Ok(Glance { newest: releases::newest(db, app.id)?, live: live(db, app.id)?, app })
}

fn live(db: &Connection, app: AppId) -> Result<Option<Slug>, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT slugs.* FROM apps JOIN releases ON releases.app = apps.id AND releases.version = apps.live
         JOIN slugs ON slugs.id = releases.slug WHERE apps.id = ?1",
    )?;
    query.query_row([app.0], |row| Ok(slugs::slug(row))).optional()?.transpose()
}
