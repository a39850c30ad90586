//! What the original platform has and this one has not: databases, and signing in with Google. Each route answers with one
//! clear sentence, to those who may ask.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post, put};

use super::Doors;
use super::answer::Answer;
use super::auth::SignedIn;
use super::error::HttpError;
use super::extract::Segments;
use crate::server::actions::apps::Apps;

pub(super) fn routes() -> Router<Doors> {
    Router::new()
        .route("/api/apps/{app}/databases", get(database).post(database))
        .route("/api/apps/{app}/free_databases", post(database))
        .route("/api/apps/{app}/databases/{id}", put(database).delete(database))
        .route("/api/apps/{app}/databases/{id}/read_replicas", get(database).post(database))
        .route("/api/apps/{app}/databases/{id}/backups", get(database))
        .route("/api/apps/{app}/databases/{id}/backups/{backup}/restore", post(database))
        .route("/api/apps/{app}/databases/{id}/upgrade", post(database))
        .route("/api/apps/{app}/databases/{id}/restart", put(database))
        .route("/api/apps/{app}/databases/{id}/stop", put(database))
        .route("/api/apps/{app}/databases/{id}/start", put(database))
        .route("/api/oauth/google", post(google))
        .route("/api/oauth/google/{session}", get(google))
}

async fn database(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(segments): Segments<HashMap<String, String>>,
) -> Answer {
    apps.info(&user, segments.get("app").map(String::as_str).unwrap_or_default()).await?;
    let text = "this platform offers no databases: run one beside it and set its address, `gigalixir config:set \
                DATABASE_URL=…`";
    Err(HttpError::new(StatusCode::NOT_FOUND, "", text))
}

async fn google() -> Answer {
    let text = "this platform does not sign in with Google: use `gigalixir login` or `gigalixir signup`";
    Err(HttpError::new(StatusCode::NOT_FOUND, "", text))
}
