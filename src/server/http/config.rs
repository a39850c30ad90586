//! `/api/apps/A/configs`, `/api/apps/A/configs/copy`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::Doors;
use super::answer::{Answer, created, ok};
use super::auth::SignedIn;
use super::extract::{JsonBody, Segments};
use super::routes::Routes;
use crate::api::app::{SetConfigs, UnsetConfig};
use crate::server::actions::apps::Apps;

pub(super) fn routes() -> Routes<Doors> {
    Routes::new()
        .get("/api/apps/{app}/configs", show, "tells an app's variables")
        .post("/api/apps/{app}/configs", set, "sets variables; others stay")
        .delete("/api/apps/{app}/configs", unset, "forgets variables")
        .post("/api/apps/{app}/configs/copy", copy, "lays another app's variables over this one's")
}

async fn show(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
) -> Answer<BTreeMap<String, String>> {
    ok(apps.config(&user, &app).await?)
}

async fn set(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    JsonBody(wish): JsonBody<SetConfigs>,
) -> Answer<BTreeMap<String, String>, 201> {
    created(apps.set_config(&user, &app, wish).await?)
}

async fn unset(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    JsonBody(wish): JsonBody<UnsetConfig>,
) -> Answer<BTreeMap<String, String>> {
    ok(apps.unset_config(&user, &app, wish).await?)
}

#[derive(Debug, Deserialize, ToSchema)]
struct CopyConfig {
    from: String,
}

async fn copy(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    JsonBody(CopyConfig { from }): JsonBody<CopyConfig>,
) -> Answer<BTreeMap<String, String>> {
    ok(apps.copy_config(&user, &app, &from).await?)
}
