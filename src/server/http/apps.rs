//! `/api/apps`, `/api/apps/A`, `/api/apps/A/stack`.

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::Doors;
use super::answer::{Answer, created, ok};
use super::auth::SignedIn;
use super::extract::{JsonBody, Segments};
use super::routes::Routes;
use crate::api::app::{App, CreateApp};
use crate::server::actions::apps::Apps;

pub(super) fn routes() -> Routes<Doors> {
    Routes::new()
        .get("/api/apps", list, "lists one's apps, and those one has a role in")
        .post("/api/apps", create, "makes an app")
        .get("/api/apps/{app}", info, "describes an app")
        .delete("/api/apps/{app}", destroy, "ends an app and all that is its")
        .patch("/api/apps/{app}", rename, "is always refused: a name stays")
        .put("/api/apps/{app}", rename, "is always refused: a name stays")
        .put("/api/apps/{app}/stack", set_stack, "changes what the next build is built on")
}

async fn list(State(apps): State<Arc<Apps>>, SignedIn { user, .. }: SignedIn) -> Answer<Vec<App>> {
    ok(apps.list(&user).await?)
}

async fn create(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    JsonBody(wish): JsonBody<CreateApp>,
) -> Answer<App, 201> {
    created(apps.create(&user, wish).await?)
}

async fn info(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
) -> Answer<App> {
    ok(apps.info(&user, &app).await?)
}

async fn rename(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
) -> Answer<&'static str> {
    apps.rename(&user, &app).await?;
    ok("renamed")
}

async fn destroy(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
) -> Answer<&'static str> {
    apps.destroy(&user, &app).await?;
    ok("deleted")
}

#[derive(Debug, Deserialize, ToSchema)]
struct SetStack {
    stack: String,
}

async fn set_stack(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    JsonBody(SetStack { stack }): JsonBody<SetStack>,
) -> Answer<App> {
    ok(apps.set_stack(&user, &app, &stack).await?)
}

#[cfg(test)]
mod tests;
