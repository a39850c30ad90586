//! `/api/apps/A/maintenance`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::put;

use super::Doors;
use super::answer::{Answer, ok};
use super::auth::SignedIn;
use super::extract::{JsonBody, Segments};
use crate::api::app::Maintenance;
use crate::server::actions::apps::Apps;

pub(super) fn routes() -> Router<Doors> {
    Router::new().route("/api/apps/{app}/maintenance", put(set))
}

async fn set(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    JsonBody(Maintenance { enable }): JsonBody<Maintenance>,
) -> Answer {
    apps.set_maintenance(&user, &app, enable).await?;
    ok(if enable { "maintenance mode is on" } else { "maintenance mode is off" })
}
