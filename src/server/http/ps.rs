//! `/api/apps/A/status`, `/scale`, `/restart`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::{get, put};

use super::Doors;
use super::answer::{Answer, ok};
use super::auth::SignedIn;
use super::extract::{JsonBody, Segments};
use crate::api::app::Scale;
use crate::server::actions::apps::Apps;

pub(super) fn routes() -> Router<Doors> {
    Router::new()
        .route("/api/apps/{app}/status", get(status))
        .route("/api/apps/{app}/scale", put(scale))
        .route("/api/apps/{app}/restart", put(restart))
}

async fn status(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
) -> Answer {
    ok(apps.status(&user, &app).await?)
}

async fn scale(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    JsonBody(wish): JsonBody<Scale>,
) -> Answer {
    ok(apps.scale(&user, &app, wish).await?)
}

async fn restart(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
) -> Answer {
    apps.restart(&user, &app).await?;
    ok("restarted")
}
