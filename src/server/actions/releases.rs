//! Releases: listing them, going back to one, asking how one would become another.

use std::collections::HashMap;
use std::time::Duration;

use super::ActionError;
use super::access::Action;
use super::apps::Apps;
use crate::api;
use crate::server::deployer::RollbackBy;
use crate::server::domain::{
    AppChange, Invalid, ModuleChange, NodeUpgrade, Refusal, Release, ReleaseState, ReleaseVersion, Slug, UpgradePlan,
    User,
};
use crate::server::hot::PlanError;
use crate::server::progress::Progress;
use crate::server::releases::Target;

impl Apps {
    /// Every release, newest first.
    pub async fn releases(&self, user: &User, name: &str) -> Result<Vec<api::release::Release>, ActionError> {
        let app = self.may(user, name, Action::See).await?;
        let mut hot: HashMap<ReleaseVersion, Vec<NodeUpgrade>> = HashMap::new();
        for (version, node) in self.rooms.store.all_upgraded_nodes(app.id).await? {
            hot.entry(version).or_default().push(node);
        }
        let releases = self.rooms.releases.list(app.id).await?;
        let nodes = |release: &Release| hot.get(&release.version).cloned().unwrap_or_default();
        Ok(releases
            .into_iter()
            .map(|release| (nodes(&release), release))
            .map(|(nodes, one)| shown(one, nodes))
            .collect())
    }

    /// One release: `latest`, a version or a rollback id.
    pub async fn release(&self, user: &User, name: &str, which: &str) -> Result<api::release::Release, ActionError> {
        let releases = self.releases(user, name).await?;
        let wanted = |release: &api::release::Release| {
            which == "latest"
                || which.strip_prefix('v').unwrap_or(which) == release.version.to_string()
                || which == release.rollback_id
        };
        releases.into_iter().find(wanted).ok_or_else(unknown)
    }

    /// Makes a new release of what an older one ran with: `previous`, a version or a rollback id.
    pub async fn rollback(&self, user: &User, name: &str, which: &str, how: RollbackBy) -> Result<(), ActionError> {
        let app = self.may(user, name, Action::RollBack).await?;
        let target = match which {
            "previous" => Target::Previous,
            _ => Target::parse(which).ok_or_else(unknown)?,
        };
        self.rooms.deployer.rollback(app.id, target, how, user.email.to_string()).await?;
        Ok(())
    }

    /// How one release, running, would become another: `live`, a version or a rollback id. Nothing is done.
    pub async fn upgrade_plan(
        &self,
        user: &User,
        name: &str,
        from: &str,
        to: &str,
    ) -> Result<api::release::UpgradePlan, ActionError> {
        let app = self.may(user, name, Action::Fetch).await?;
        let releases = self.rooms.releases.list(app.id).await?;
        let (old, new) = (found(&releases, from)?, found(&releases, to)?);
        let (before, after) = (code(old)?, code(new)?);
        let (silent, plans) = (Progress::silent(), &self.rooms.plans);
        // Backwards it is what a hot rollback would do.
        let plan = match old.version <= new.version {
            true => plans.forth(before, after, &silent).await,
            false => plans.back(before, after, &silent).await,
        };
        Ok(told(plan.map_err(unplanned)?))
    }
}

fn found<'a>(releases: &'a [Release], which: &str) -> Result<&'a Release, ActionError> {
    let wanted = |release: &&Release| match which {
        "live" => release.state == ReleaseState::Live,
        _ => {
            which.strip_prefix('v').unwrap_or(which) == release.version.0.to_string()
                || which == release.rollback_id.to_string()
        }
    };
    releases.iter().find(wanted).ok_or_else(unknown)
}

fn code(release: &Release) -> Result<&Slug, ActionError> {
    let none =
        || Invalid::new("release", format!("{} has no code: it was made before the first push", release.version));
    Ok(release.slug.as_ref().ok_or_else(none)?)
}

/// Slugs that cannot be had any more, or that are no releases, are the asker's to choose otherwise.
fn unplanned(error: PlanError) -> ActionError {
    match error {
        PlanError::Failed(why) => ActionError::Invalid(Invalid::new("release", why)),
        PlanError::Slug(error) => ActionError::NotFound(format!("{error}: push its commit again")),
        other => ActionError::Internal(Box::new(other)),
    }
}

fn told(plan: UpgradePlan) -> api::release::UpgradePlan {
    let refusal = |one: Refusal| api::release::Refusal { what: one.what, text: one.text, fix: one.fix };
    let module = |one: ModuleChange| api::release::ModuleChange { name: one.name, change: one.change, kind: one.kind };
    let app = |one: AppChange| api::release::AppChange {
        name: one.name,
        from: one.from,
        to: one.to,
        appup: one.appup,
        modules: one.modules.into_iter().map(module).collect(),
    };
    api::release::UpgradePlan {
        from: plan.from,
        to: plan.to,
        possible: plan.scripts.is_some(),
        undoable: plan.scripts.as_ref().is_some_and(|scripts| scripts.undoable),
        refusals: plan.refusals.into_iter().map(refusal).collect(),
        apps: plan.apps.into_iter().map(app).collect(),
        notes: plan.notes,
        script: plan.scripts.map(|scripts| scripts.up),
    }
}

fn milliseconds(us: u64) -> f64 {
    Duration::from_micros(us).as_secs_f64() * 1000.0
}

fn unknown() -> ActionError {
    ActionError::NotFound("there is no such release; `gigalixir releases` lists them".into())
}

fn shown(release: Release, hot: Vec<NodeUpgrade>) -> api::release::Release {
    let node = |one: NodeUpgrade| api::release::NodeUpgrade {
        replica: one.instance,
        state: one.state.as_str().into(),
        pause_ms: one.pause_us.map(milliseconds),
        took_ms: one.took_us.map(milliseconds),
    };
    let slug = release.slug.as_ref();
    api::release::Release {
        version: release.version.0,
        rollback_id: release.rollback_id.to_string(),
        sha: slug.map(|slug| slug.sha.clone()),
        summary: release.summary,
        created_by: release.created_by,
        created_at: release.created_at.to_string(),
        customer_app_name: slug.and_then(|slug| slug.customer_app_name.clone()),
        customer_app_version: slug.and_then(|slug| slug.customer_app_version.clone()),
        state: release.state.as_str().into(),
        slug_url: "<REDACTED>".into(),
        hot: hot.into_iter().map(node).collect(),
    }
}
