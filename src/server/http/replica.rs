//! What run containers and ingresses ask: `/api/apps/A/host_indexes/HOSTNAME/assign`, `/api/apps/A/releases/current`,
//! `/api/apps/A/ssh_keys`, `/api/apps/A/flame`, `/api/default_backend/domain`.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRef, FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use serde::Deserialize;

use super::Doors;
use super::answer::{Answer, ok};
use super::auth::basic;
use super::error::HttpError;
use super::extract::{Parameters, Segments};
use crate::server::actions::apps::Apps;
use crate::server::domain::App;

pub(super) fn routes() -> Router<Doors> {
    Router::new()
        .route("/api/apps/{app}/host_indexes/{host}/assign", get(host_index))
        .route("/api/apps/{app}/releases/current", get(current_release))
        .route("/api/apps/{app}/ssh_keys", get(ssh_keys))
        .route("/api/apps/{app}/flame", post(flame))
        .route("/api/default_backend/domain", get(domain))
}

/// A replica of the app in the path, signed in by the app's name and `APP_KEY`. As an extractor it refuses everybody
/// else with 401, people included.
#[derive(Debug, Clone)]
pub struct Replica(pub App);

impl<S> FromRequestParts<S> for Replica
where
    S: Send + Sync,
    Arc<Apps>: FromRef<S>,
{
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        let Segments(segments) = Segments::<HashMap<String, String>>::from_request_parts(parts, state).await?;
        let name = segments.get("app").map(String::as_str).unwrap_or_default();
        Ok(Self(Arc::<Apps>::from_ref(state).replica(&basic(&parts.headers), name).await?))
    }
}

async fn host_index(
    State(apps): State<Arc<Apps>>,
    Replica(app): Replica,
    Segments((_, host)): Segments<(String, String)>,
) -> Answer {
    ok(apps.host_index(&app, &host)?)
}

async fn current_release(State(apps): State<Arc<Apps>>, Replica(app): Replica) -> Answer {
    ok(apps.current_release(&app).await?)
}

async fn ssh_keys(State(apps): State<Arc<Apps>>, Replica(app): Replica) -> Answer {
    ok(apps.keys_that_enter(&app).await?)
}

/// A status that FLAME's client does not try again at.
async fn flame(Replica(_): Replica) -> Answer {
    let text = "FLAME runners are not offered by this platform: scale a process type, or start a job with `gigalixir run`";
    Err(HttpError::new(StatusCode::NOT_FOUND, "", text))
}

/// The query of `GET /api/default_backend/domain`.
#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    domain: String,
}

async fn domain(
    State(apps): State<Arc<Apps>>,
    headers: HeaderMap,
    Parameters(Asked { domain }): Parameters<Asked>,
) -> Answer {
    ok(apps.domain_status(&basic(&headers), &domain)?)
}
