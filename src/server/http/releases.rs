//! `/api/apps/A/releases…`.

use std::sync::Arc;

use axum::extract::State;

use super::Doors;
use super::answer::{Answer, ok};
use super::auth::SignedIn;
use super::extract::{Parameters, Segments};
use super::routes::Routes;
use crate::api::release::{Release, Rollback, UpgradePlan};
use crate::server::actions::apps::Apps;
use crate::server::deployer::RollbackBy;

pub(super) fn routes() -> Routes<Doors> {
    Routes::new()
        .get("/api/apps/{app}/releases", list, "lists an app's releases, newest first")
        .get("/api/apps/{app}/releases/{which}", show, "describes a release")
        .get(
            "/api/apps/{app}/releases/{which}/upgrade-plan/{to}",
            upgrade_plan,
            "tells how a running release would become another; nothing is done",
        )
        .post("/api/apps/{app}/releases/{which}/rollback", rollback, "makes a new release of an old one")
}

async fn list(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
) -> Answer<Vec<Release>> {
    ok(apps.releases(&user, &app).await?)
}

async fn show(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments((app, which)): Segments<(String, String)>,
) -> Answer<Release> {
    ok(apps.release(&user, &app, &which).await?)
}

async fn upgrade_plan(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments((app, which, to)): Segments<(String, String, String)>,
) -> Answer<UpgradePlan> {
    ok(apps.upgrade_plan(&user, &app, &which, &to).await?)
}

async fn rollback(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments((app, which)): Segments<(String, String)>,
    Parameters(how): Parameters<Rollback>,
) -> Answer<&'static str> {
    let how = if how.hot { RollbackBy::Upgrade { or_restart: how.or_restart } } else { RollbackBy::Restart };
    apps.rollback(&user, &app, &which, how).await?;
    ok("rolled back")
}
