//! Hot upgrades: the plans, and which node went through which.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, params};

use crate::server::domain::{
    AppId, NodeUpgrade, NodeUpgradeState, ReleaseState, ReleaseVersion, SlugDigest, UpgradePlan,
};

use super::rows::{json, parsed, to_json};
use super::{Store, StoreError};

/// Plans of pairs that nobody asks for any more are forgotten after so many newer ones.
const PLANS: u32 = 1000;

impl Store {
    /// The plan from one slug to another, if this version of the planner made one.
    pub async fn upgrade_plan(
        &self,
        from: SlugDigest,
        to: SlugDigest,
        tool: String,
    ) -> Result<Option<UpgradePlan>, StoreError> {
        self.read(move |db| {
            let sql = "SELECT plan FROM upgrade_plans WHERE from_digest = ?1 AND to_digest = ?2 AND tool = ?3";
            let mut query = db.prepare_cached(sql)?;
            let found = query.query_row(params![from.as_str(), to.as_str(), tool], |row| Ok(json(row, "plan")));
            found.optional()?.transpose()
        })
        .await
    }

    /// Remembers a plan.
    pub async fn keep_upgrade_plan(
        &self,
        from: SlugDigest,
        to: SlugDigest,
        tool: String,
        plan: UpgradePlan,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute(
                "INSERT OR REPLACE INTO upgrade_plans (from_digest, to_digest, tool, plan, made_at) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![from.as_str(), to.as_str(), tool, to_json(&plan)?, Timestamp::now().to_string()],
            )?;
            tx.execute(
                "DELETE FROM upgrade_plans WHERE made_at < (SELECT made_at FROM upgrade_plans ORDER BY made_at DESC LIMIT 1 OFFSET ?1)",
                [PLANS],
            )?;
            Ok(())
        })
        .await
    }

    /// Says by which plan a release is about to be brought to running nodes.
    pub async fn begin_upgrade(
        &self,
        app: AppId,
        release: ReleaseVersion,
        plan: UpgradePlan,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            let sql = "INSERT INTO upgrades (app, release, plan) VALUES (?1, ?2, ?3)";
            tx.execute(sql, params![app.0, release.0, to_json(&plan)?])?;
            Ok(())
        })
        .await
    }

    /// All of its nodes are at one version.
    pub async fn settle_upgrade(&self, app: AppId, release: ReleaseVersion) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute("UPDATE upgrades SET settled = 1 WHERE app = ?1 AND release = ?2", params![app.0, release.0])?;
            Ok(())
        })
        .await
    }

    /// Upgrades of which it is not known that all nodes are at one version.
    pub async fn open_upgrades(&self) -> Result<Vec<OpenUpgrade>, StoreError> {
        self.read(|db| {
            let mut query = db.prepare_cached(
                "SELECT u.app, u.release, u.plan, r.state FROM upgrades AS u
                 JOIN releases AS r ON r.app = u.app AND r.version = u.release
                 WHERE settled = 0 ORDER BY u.app, u.release",
            )?;
            let open = |row: &Row<'_>| {
                Ok(OpenUpgrade {
                    app: AppId(row.get("app")?),
                    release: ReleaseVersion(row.get("release")?),
                    plan: json(row, "plan")?,
                    failed: parsed(row, "state", |text| ReleaseState::parse(text).ok_or(()))? == ReleaseState::Failed,
                })
            };
            query.query_and_then([], open)?.collect()
        })
        .await
    }

    /// Says how far a node is. Before a node is touched it is `begun`.
    pub async fn note_node(&self, app: AppId, release: ReleaseVersion, node: NodeUpgrade) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.prepare_cached(
                "INSERT INTO upgraded_nodes (app, release, instance, state, pause_us, took_us, at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT (app, release, instance) DO UPDATE SET state = excluded.state,
                   pause_us = coalesce(excluded.pause_us, pause_us), took_us = coalesce(excluded.took_us, took_us)",
            )?
            .execute(params![
                app.0,
                release.0,
                node.instance,
                node.state.as_str(),
                node.pause_us.map(|us| us as i64),
                node.took_us.map(|us| us as i64),
                Timestamp::now().to_string()
            ])?;
            Ok(())
        })
        .await
    }

    /// The nodes that a release was brought to while they ran, in the order in which they were begun.
    pub async fn upgraded_nodes(&self, app: AppId, release: ReleaseVersion) -> Result<Vec<NodeUpgrade>, StoreError> {
        self.read(move |db| {
            let sql = "SELECT * FROM upgraded_nodes WHERE app = ?1 AND release = ?2 ORDER BY at";
            db.prepare_cached(sql)?.query_and_then(params![app.0, release.0], node)?.collect()
        })
        .await
    }

    /// All of an app's, by release.
    pub async fn all_upgraded_nodes(&self, app: AppId) -> Result<Vec<(ReleaseVersion, NodeUpgrade)>, StoreError> {
        self.read(move |db| {
            let mut query = db.prepare_cached("SELECT * FROM upgraded_nodes WHERE app = ?1 ORDER BY release, at")?;
            let both = |row: &Row<'_>| Ok((ReleaseVersion(row.get("release")?), node(row)?));
            query.query_and_then(params![app.0], both)?.collect()
        })
        .await
    }
}

/// An upgrade of which it is not known that all nodes are at one version.
#[derive(Debug, Clone)]
pub struct OpenUpgrade {
    /// Whose.
    pub app: AppId,
    /// The release that was brought to its nodes.
    pub release: ReleaseVersion,
    /// By this plan.
    pub plan: UpgradePlan,
    /// Whether it has failed: then the nodes belong where they were before.
    pub failed: bool,
}

fn node(row: &Row<'_>) -> Result<NodeUpgrade, StoreError> {
    Ok(NodeUpgrade {
        instance: row.get("instance")?,
        state: parsed(row, "state", |text| NodeUpgradeState::parse(text).ok_or(()))?,
        pause_us: row.get::<_, Option<i64>>("pause_us")?.map(|us| us as u64),
        took_us: row.get::<_, Option<i64>>("took_us")?.map(|us| us as u64),
    })
}
