//! What the original platform has and this one has not: databases, and signing in with Google. Each route answers with one
//! clear sentence, to those who may ask.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::Doors;
use super::auth::SignedIn;
use super::error::HttpError;
use super::extract::Segments;
use super::routes::{Routes, Sheet, Told};
use crate::server::actions::apps::Apps;

const NO_DATABASES: &str = "is always refused: databases are not offered";
const NO_GOOGLE: &str = "is always refused: nobody signs in with Google here";

pub(super) fn routes() -> Routes<Doors> {
    let one = "/api/apps/{app}/databases/{id}";
    Routes::new()
        .get("/api/apps/{app}/databases", database, NO_DATABASES)
        .post("/api/apps/{app}/databases", database, NO_DATABASES)
        .post("/api/apps/{app}/free_databases", database, NO_DATABASES)
        .put(one, database, NO_DATABASES)
        .delete(one, database, NO_DATABASES)
        .get("/api/apps/{app}/databases/{id}/read_replicas", database, NO_DATABASES)
        .post("/api/apps/{app}/databases/{id}/read_replicas", database, NO_DATABASES)
        .get("/api/apps/{app}/databases/{id}/backups", database, NO_DATABASES)
        .post("/api/apps/{app}/databases/{id}/backups/{backup}/restore", database, NO_DATABASES)
        .post("/api/apps/{app}/databases/{id}/upgrade", database, NO_DATABASES)
        .put("/api/apps/{app}/databases/{id}/restart", database, NO_DATABASES)
        .put("/api/apps/{app}/databases/{id}/stop", database, NO_DATABASES)
        .put("/api/apps/{app}/databases/{id}/start", database, NO_DATABASES)
        .post("/api/oauth/google", google, NO_GOOGLE)
        .get("/api/oauth/google/{session}", google, NO_GOOGLE)
}

/// The answer of what only refuses: there is none.
#[derive(Debug)]
enum Nothing {}

impl IntoResponse for Nothing {
    fn into_response(self) -> Response {
        match self {}
    }
}

impl Told for Nothing {
    fn describe(sheet: &mut Sheet) {
        sheet.refuses(404, "It is not offered.");
    }
}

fn not_offered(text: &str) -> Result<Nothing, HttpError> {
    Err(HttpError::new(StatusCode::NOT_FOUND, "", text))
}

/// Who may not see the app does not learn that there is one.
async fn database(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(segments): Segments<HashMap<String, String>>,
) -> Result<Nothing, HttpError> {
    apps.info(&user, segments.get("app").map(String::as_str).unwrap_or_default()).await?;
    not_offered("this platform offers no databases: run one beside it and set DATABASE_URL with `gigalixir config:set`")
}

async fn google() -> Result<Nothing, HttpError> {
    not_offered("this platform does not sign in with Google: use `gigalixir login` or `gigalixir signup`")
}
