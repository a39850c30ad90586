//! `/api/apps/A/releases…`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};

use super::Doors;
use super::answer::{Answer, ok};
use super::auth::SignedIn;
use super::extract::Segments;
use crate::server::actions::apps::Apps;

pub(super) fn routes() -> Router<Doors> {
    Router::new()
        .route("/api/apps/{app}/releases", get(list))
        .route("/api/apps/{app}/releases/{which}", get(show))
        .route("/api/apps/{app}/releases/{which}/rollback", post(rollback))
}

async fn list(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
) -> Answer {
    ok(apps.releases(&user, &app).await?)
}

async fn show(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments((app, which)): Segments<(String, String)>,
) -> Answer {
    ok(apps.release(&user, &app, &which).await?)
}

async fn rollback(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments((app, which)): Segments<(String, String)>,
) -> Answer {
    apps.rollback(&user, &app, &which).await?;
    ok("rolled back")
}
