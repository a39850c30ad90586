//! `/api/usage`, `/api/usage/run_rate`, `/api/invoices`, `/api/apps/A/usage`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;

use super::Doors;
use super::answer::{Answer, ok};
use super::auth::SignedIn;
use super::extract::Segments;
use crate::server::actions::apps::Apps;

pub(super) fn routes() -> Router<Doors> {
    Router::new()
        .route("/api/usage", get(now))
        .route("/api/usage/run_rate", get(run_rate))
        .route("/api/invoices", get(invoices))
        .route("/api/apps/{app}/usage", get(of_app))
}

async fn now(State(apps): State<Arc<Apps>>, SignedIn { user, .. }: SignedIn) -> Answer {
    ok(apps.usage(&user).await?)
}

async fn run_rate(State(apps): State<Arc<Apps>>, SignedIn { user, .. }: SignedIn) -> Answer {
    ok(apps.run_rate(&user).await?)
}

async fn invoices(State(apps): State<Arc<Apps>>, SignedIn { user, .. }: SignedIn) -> Answer {
    ok(apps.invoices(&user).await?)
}

async fn of_app(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
) -> Answer {
    ok(apps.app_usage(&user, &app).await?)
}
