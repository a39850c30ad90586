//! `/api/apps/A/permissions`.

use std::sync::Arc;

use axum::extract::State;

use super::Doors;
use super::answer::{Answer, created, ok};
use super::auth::SignedIn;
use super::extract::{JsonBody, Segments};
use super::routes::Routes;
use crate::api::access::{Grant, People, Revoke};
use crate::server::actions::apps::Apps;

pub(super) fn routes() -> Routes<Doors> {
    Routes::new()
        .get("/api/apps/{app}/permissions", list, "lists who has a role in an app")
        .post("/api/apps/{app}/permissions", grant, "gives somebody a role in an app")
        .delete("/api/apps/{app}/permissions", revoke, "takes somebody's role in an app away")
}

async fn list(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
) -> Answer<People> {
    ok(apps.people(&user, &app).await?)
}

async fn grant(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    JsonBody(wish): JsonBody<Grant>,
) -> Answer<&'static str, 201> {
    apps.grant(&user, &app, wish).await?;
    created("added")
}

async fn revoke(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    JsonBody(Revoke { email }): JsonBody<Revoke>,
) -> Answer<&'static str> {
    apps.revoke(&user, &app, &email).await?;
    ok("deleted")
}
