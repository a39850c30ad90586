//! `/api/apps/A/status`, `/scale`, `/restart`, `/pods/P`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::{delete, get, put};

use super::Doors;
use super::answer::{Answer, accepted, ok};
use super::auth::SignedIn;
use super::extract::{JsonBody, Segments};
use crate::api::app::Scale;
use crate::server::actions::apps::Apps;

pub(super) fn routes() -> Router<Doors> {
    Router::new()
        .route("/api/apps/{app}/status", get(status))
        .route("/api/apps/{app}/scale", put(scale))
        .route("/api/apps/{app}/restart", put(restart))
        .route("/api/apps/{app}/pods/{pod}", delete(kill))
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

async fn kill(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments((app, pod)): Segments<(String, String)>,
) -> Answer {
    apps.kill(&user, &app, &pod).await?;
    accepted("killed")
}
