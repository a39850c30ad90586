//! `/api/apps/A/activity`.

use std::sync::Arc;

use axum::extract::State;

use super::Doors;
use super::answer::{Answer, ok};
use super::auth::SignedIn;
use super::extract::Segments;
use super::routes::Routes;
use crate::api::app::Activity;
use crate::server::actions::apps::Apps;

pub(super) fn routes() -> Routes<Doors> {
    Routes::new().get("/api/apps/{app}/activity", list, "lists who did what to an app, newest first")
}

async fn list(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
) -> Answer<Vec<Activity>> {
    ok(apps.activity(&user, &app).await?)
}
