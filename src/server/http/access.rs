//! `/api/apps/A/permissions`.

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Doors;
use super::answer::{Answer, created, ok};
use super::auth::SignedIn;
use super::extract::{JsonBody, Parameters, Segments};
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

/// The query of `DELETE /api/apps/A/permissions`, in which a console of 2020 says what others say in the body.
#[derive(Deserialize, IntoParams)]
struct Named {
    /// Whose role.
    email: Option<String>,
}

async fn revoke(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    Parameters(named): Parameters<Named>,
    JsonBody(Revoke { email }): JsonBody<Revoke>,
) -> Answer<&'static str> {
    apps.revoke(&user, &app, &named.email.unwrap_or(email)).await?;
    ok("deleted")
}
