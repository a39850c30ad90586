//! `/api/apps/A/configs`, `/api/apps/A/configs/copy`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use serde::Deserialize;

use super::Doors;
use super::answer::{Answer, created, ok};
use super::auth::SignedIn;
use super::extract::{JsonBody, Segments};
use crate::api::app::{SetConfigs, UnsetConfig};
use crate::server::actions::apps::Apps;

pub(super) fn routes() -> Router<Doors> {
    Router::new()
        .route("/api/apps/{app}/configs", get(show).post(set).delete(unset))
        .route("/api/apps/{app}/configs/copy", post(copy))
}

async fn show(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
) -> Answer {
    ok(apps.config(&user, &app).await?)
}

async fn set(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    JsonBody(wish): JsonBody<SetConfigs>,
) -> Answer {
    created(apps.set_config(&user, &app, wish).await?)
}

async fn unset(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    JsonBody(wish): JsonBody<UnsetConfig>,
) -> Answer {
    ok(apps.unset_config(&user, &app, wish).await?)
}

#[derive(Debug, Deserialize)]
struct Copy {
    from: String,
}

async fn copy(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    JsonBody(Copy { from }): JsonBody<Copy>,
) -> Answer {
    ok(apps.copy_config(&user, &app, &from).await?)
}
