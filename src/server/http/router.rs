//! `/api/apps/A/router`, `/api/apps/A/maintenance/page`.

use std::sync::Arc;

use axum::extract::State;

use super::Doors;
use super::answer::{Answer, ok};
use super::auth::SignedIn;
use super::extract::{JsonBody, Segments};
use super::routes::Routes;
use crate::api::router::{MaintenancePage, RouterRules, SetRouterRules};
use crate::server::actions::apps::Apps;

pub(super) fn routes() -> Routes<Doors> {
    Routes::new()
        .get("/api/apps/{app}/router", show, "tells what holds for visitors' requests")
        .patch("/api/apps/{app}/router", set, "changes what holds for visitors' requests")
        .get("/api/apps/{app}/maintenance/page", page, "tells an app's own maintenance page")
        .put("/api/apps/{app}/maintenance/page", set_page, "gives an app its own maintenance page")
}

async fn show(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
) -> Answer<RouterRules> {
    ok(apps.router_rules(&user, &app).await?)
}

async fn set(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    JsonBody(wish): JsonBody<SetRouterRules>,
) -> Answer<RouterRules> {
    ok(apps.set_router_rules(&user, &app, wish).await?)
}

async fn page(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
) -> Answer<MaintenancePage> {
    ok(apps.maintenance_page(&user, &app).await?)
}

async fn set_page(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    JsonBody(MaintenancePage { html }): JsonBody<MaintenancePage>,
) -> Answer<&'static str> {
    apps.set_maintenance_page(&user, &app, html).await?;
    ok("changed")
}
