//! `/api/apps/A/canaries`, `/api/apps/A/canaries/NAME`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::{delete, get};

use super::Doors;
use super::answer::{Answer, ok};
use super::auth::SignedIn;
use super::extract::{JsonBody, Segments};
use crate::api::canary::SetCanary;
use crate::server::actions::apps::Apps;

pub(super) fn routes() -> Router<Doors> {
    Router::new()
        .route("/api/apps/{app}/canaries", get(list).put(set))
        .route("/api/apps/{app}/canaries/{canary}", delete(unset))
}

async fn list(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
) -> Answer {
    ok(apps.canaries(&user, &app).await?)
}

async fn set(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    JsonBody(wish): JsonBody<SetCanary>,
) -> Answer {
    ok(apps.set_canary(&user, &app, wish).await?)
}

async fn unset(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments((app, canary)): Segments<(String, String)>,
) -> Answer {
    apps.remove_canary(&user, &app, &canary).await?;
    ok("deleted")
}
