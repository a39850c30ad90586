//! `/api/apps/A/drains`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;

use super::Doors;
use super::answer::{Answer, created, ok};
use super::auth::SignedIn;
use super::extract::{JsonBody, Segments};
use crate::api::drain::{AddDrain, RemoveDrain};
use crate::server::actions::apps::Apps;

pub(super) fn routes() -> Router<Doors> {
    Router::new().route("/api/apps/{app}/drains", get(list).post(add).delete(remove))
}

async fn list(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
) -> Answer {
    ok(apps.drains(&user, &app).await?)
}

async fn add(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    JsonBody(AddDrain { url }): JsonBody<AddDrain>,
) -> Answer {
    created(apps.add_drain(&user, &app, &url).await?)
}

async fn remove(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    JsonBody(RemoveDrain { drain_id }): JsonBody<RemoveDrain>,
) -> Answer {
    apps.remove_drain(&user, &app, &drain_id).await?;
    ok("deleted")
}
