//! `/api/apps/A/drains`.

use std::sync::Arc;

use axum::extract::State;

use super::Doors;
use super::answer::{Answer, created, ok};
use super::auth::SignedIn;
use super::extract::{JsonBody, Segments};
use super::routes::Routes;
use crate::api::drain::{AddDrain, Drain, RemoveDrain};
use crate::server::actions::apps::Apps;

pub(super) fn routes() -> Routes<Doors> {
    Routes::new()
        .get("/api/apps/{app}/drains", list, "lists where an app's log is sent besides")
        .post("/api/apps/{app}/drains", add, "sends an app's log to another machine too")
        .delete("/api/apps/{app}/drains", remove, "sends it there no longer")
}

async fn list(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
) -> Answer<Vec<Drain>> {
    ok(apps.drains(&user, &app).await?)
}

async fn add(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    JsonBody(AddDrain { url }): JsonBody<AddDrain>,
) -> Answer<Drain, 201> {
    created(apps.add_drain(&user, &app, &url).await?)
}

async fn remove(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    JsonBody(RemoveDrain { drain_id }): JsonBody<RemoveDrain>,
) -> Answer<&'static str> {
    apps.remove_drain(&user, &app, &drain_id).await?;
    ok("deleted")
}
