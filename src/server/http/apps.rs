//! `/api/apps`, `/api/apps/A`, `/api/apps/A/stack`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::{get, put};
use serde::Deserialize;

use super::Doors;
use super::answer::{Answer, created, ok};
use super::auth::SignedIn;
use super::extract::{JsonBody, Segments};
use crate::api::app::CreateApp;
use crate::server::actions::apps::Apps;

pub(super) fn routes() -> Router<Doors> {
    Router::new()
        .route("/api/apps", get(list).post(create))
        .route("/api/apps/{app}", get(info).delete(destroy).patch(rename).put(rename))
        .route("/api/apps/{app}/stack", put(set_stack))
}

async fn list(State(apps): State<Arc<Apps>>, SignedIn { user, .. }: SignedIn) -> Answer {
    ok(apps.list(&user).await?)
}

async fn create(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    JsonBody(wish): JsonBody<CreateApp>,
) -> Answer {
    created(apps.create(&user, wish).await?)
}

async fn info(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
) -> Answer {
    ok(apps.info(&user, &app).await?)
}

async fn rename(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
) -> Answer {
    ok(apps.rename(&user, &app).await?)
}

async fn destroy(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
) -> Answer {
    apps.destroy(&user, &app).await?;
    ok("deleted")
}

#[derive(Debug, Deserialize)]
struct SetStack {
    stack: String,
}

async fn set_stack(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    JsonBody(SetStack { stack }): JsonBody<SetStack>,
) -> Answer {
    ok(apps.set_stack(&user, &app, &stack).await?)
}

#[cfg(test)]
mod tests;
