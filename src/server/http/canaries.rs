//! `/api/apps/A/canaries`, `/api/apps/A/canaries/NAME`.

use std::sync::Arc;

use axum::extract::State;

use super::Doors;
use super::answer::{Answer, ok};
use super::auth::SignedIn;
use super::extract::{JsonBody, Segments};
use super::routes::Routes;
use crate::api::canary::{Canary, SetCanary};
use crate::server::actions::apps::Apps;

pub(super) fn routes() -> Routes<Doors> {
    Routes::new()
        .get("/api/apps/{app}/canaries", list, "lists which apps get a part of an app's visitors")
        .put("/api/apps/{app}/canaries", set, "gives a part of an app's visitors to another app")
        .delete("/api/apps/{app}/canaries/{canary}", unset, "gives them back")
}

async fn list(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
) -> Answer<Vec<Canary>> {
    ok(apps.canaries(&user, &app).await?)
}

async fn set(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    JsonBody(wish): JsonBody<SetCanary>,
) -> Answer<Vec<Canary>> {
    ok(apps.set_canary(&user, &app, wish).await?)
}

async fn unset(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments((app, canary)): Segments<(String, String)>,
) -> Answer<&'static str> {
    apps.remove_canary(&user, &app, &canary).await?;
    ok("deleted")
}
