//! `/api/apps/A/permissions`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;

use super::Doors;
use super::answer::{Answer, created, ok};
use super::auth::SignedIn;
use super::extract::{JsonBody, Segments};
use crate::api::access::{Grant, Revoke};
use crate::server::actions::apps::Apps;

pub(super) fn routes() -> Router<Doors> {
    Router::new().route("/api/apps/{app}/permissions", get(list).post(grant).delete(revoke))
}

async fn list(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
) -> Answer {
    ok(apps.people(&user, &app).await?)
}

async fn grant(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    JsonBody(wish): JsonBody<Grant>,
) -> Answer {
    apps.grant(&user, &app, wish).await?;
    created("added")
}

async fn revoke(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    JsonBody(Revoke { email }): JsonBody<Revoke>,
) -> Answer {
    apps.revoke(&user, &app, &email).await?;
    ok("deleted")
}
