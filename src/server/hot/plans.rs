//! Plans between slugs: each made once.

use std::sync::Arc;

use super::{PlanError, Planner};
use crate::server::domain::{Refusal, Slug, SlugKind, UpgradePlan};
use crate::server::progress::Progress;
use crate::server::runtime::SlugSource;
use crate::server::store::Store;

/// How slugs become each other. Cheap to clone.
#[derive(Clone)]
pub struct Plans {
    planner: Planner,
    store: Store,
    slugs: Arc<dyn SlugSource>,
}

impl Plans {
    /// Plans of this planner, kept in this store.
    pub fn new(planner: Planner, store: Store, slugs: Arc<dyn SlugSource>) -> Self {
        Self { planner, store, slugs }
    }

    /// How `old`, running, becomes `new`.
    pub async fn forth(&self, old: &Slug, new: &Slug, progress: &Progress) -> Result<UpgradePlan, PlanError> {
        if let Some(refusal) = unlike(old, new) {
            return Ok(UpgradePlan::refused(version(old), version(new), refusal));
        }
        let (from, to, tool) = (old.digest.clone(), new.digest.clone(), self.planner.version().to_owned());
        if let Some(plan) = self.store.upgrade_plan(from.clone(), to.clone(), tool.clone()).await? {
            return Ok(plan);
        }
        let (before, after) = (self.slugs.local_path(&from).await?, self.slugs.local_path(&to).await?);
        let plan = self.planner.plan(&new.stack, (&before, &after), &own(new), progress).await?;
        self.store.keep_upgrade_plan(from, to, tool, plan.clone()).await?;
        Ok(plan)
    }

    /// How `new`, running, becomes `old` again: by the way back of the upgrade from `old` to `new` (`code_change` of
    /// `{down, …}` by the newer code), or where there is none as if `old` were the newer one.
    pub async fn back(&self, new: &Slug, old: &Slug, progress: &Progress) -> Result<UpgradePlan, PlanError> {
        match self.forth(old, new, progress).await?.reversed() {
            Some(plan) => Ok(plan),
            None => self.forth(new, old, progress).await,
        }
    }

    /// Where slugs are had from.
    pub fn slugs(&self) -> &Arc<dyn SlugSource> {
        &self.slugs
    }
}

/// What no comparison is needed for.
fn unlike(old: &Slug, new: &Slug) -> Option<Refusal> {
    let refusal = |what: &str, text: String| Refusal {
        what: what.to_owned(),
        text,
        fix: "deploy it with a restart (push without `hot`, or with `or-restart` as well)".to_owned(),
    };
    let release = |slug: &Slug| slug.kind == SlugKind::Release && slug.customer_app_name.is_some();
    if !release(old) || !release(new) {
        let which = if release(new) { "what runs" } else { "what was pushed" };
        return Some(refusal("kind", format!("{which} is no mix release: only the nodes of releases can be upgraded")));
    }
    (old.stack != new.stack).then(|| refusal("stack", format!("the stack goes from {} to {}", old.stack, new.stack)))
}

fn version(slug: &Slug) -> &str {
    slug.customer_app_version.as_deref().unwrap_or_default()
}

/// The project's own applications: those that the build named, or the one that the release is named after.
fn own(slug: &Slug) -> String {
    let named = slug.capabilities.get("apps").and_then(|apps| apps.as_array());
    let named: Vec<_> = named.into_iter().flatten().filter_map(|app| app.as_str()).collect();
    if named.is_empty() { slug.customer_app_name.clone().unwrap_or_default() } else { named.join(",") }
}
