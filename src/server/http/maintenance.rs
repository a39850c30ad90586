//! `/api/apps/A/maintenance`.

use std::sync::Arc;

use axum::extract::State;

use super::Doors;
use super::answer::{Answer, ok};
use super::auth::SignedIn;
use super::extract::{JsonBody, Segments};
use super::routes::Routes;
use crate::api::app::Maintenance;
use crate::server::actions::apps::Apps;

pub(super) fn routes() -> Routes<Doors> {
    Routes::new().put("/api/apps/{app}/maintenance", set, "switches the maintenance page")
}

async fn set(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    JsonBody(Maintenance { enable }): JsonBody<Maintenance>,
) -> Answer<&'static str> {
    apps.set_maintenance(&user, &app, enable).await?;
    ok(if enable { "maintenance mode is on" } else { "maintenance mode is off" })
}
