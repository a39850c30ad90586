//! What run containers and ingresses ask: `/api/apps/A/host_indexes/HOSTNAME/assign`, `/api/apps/A/releases/current`,
//! `/api/apps/A/ssh_keys`, `/api/apps/A/flame`, `/api/default_backend/domain`.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts, State};
use axum::http::request::Parts;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Doors;
use super::answer::{Answer, Bare, ok};
use super::auth::{SignedIn, basic};
use super::error::HttpError;
use super::extract::{JsonBody, Parameters, Segments};
use super::routes::{APP_KEY, INGRESS_KEY, Part, Routes, Sheet};
use crate::api::replica::{CurrentRelease, DomainStatus, Flame, FlameRunner, HostIndex};
use crate::server::actions::account::{Accounts, Credentials};
use crate::server::actions::apps::Apps;
use crate::server::domain::{App, User};

pub(super) fn routes() -> Routes<Doors> {
    Routes::new()
        .get("/api/apps/{app}/host_indexes/{host}/assign", host_index, "tells a replica its index")
        .get("/api/apps/{app}/releases/current", current_release, "tells a replica all that its app needs to run")
        .get("/api/apps/{app}/ssh_keys", ssh_keys, "tells a replica whose ssh keys open it")
        .post("/api/apps/{app}/flame", flame, "starts a runner of the app's own code")
        .get("/api/default_backend/domain", domain, "tells an ingress what stands between a host and its app")
}

/// A replica of the app in the path, signed in by the app's name and `APP_KEY`. As an extractor it refuses everybody
/// else with 401, people included.
#[derive(Debug, Clone)]
pub(super) struct Replica(pub(super) App);

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

impl Part for Replica {
    fn describe(sheet: &mut Sheet) {
        sheet.needs(APP_KEY);
    }
}

/// A replica of the app in the path, or a person: for what both may ask. Who presents an app's name is no person.
pub(super) enum Insider {
    Replica(App),
    Person(User),
}

impl<S> FromRequestParts<S> for Insider
where
    S: Send + Sync,
    Arc<Apps>: FromRef<S>,
    Arc<Accounts>: FromRef<S>,
{
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        if basic(&parts.headers).iter().any(|tried| !tried.email.is_empty() && !tried.email.contains('@')) {
            let Replica(app) = Replica::from_request_parts(parts, state).await?;
            return Ok(Self::Replica(app));
        }
        Ok(Self::Person(SignedIn::from_request_parts(parts, state).await?.user))
    }
}

impl Part for Insider {
    fn describe(sheet: &mut Sheet) {
        SignedIn::describe(sheet);
        sheet.needs(APP_KEY);
    }
}

/// What an ingress presents; not yet looked at.
struct Ingress(Vec<Credentials>);

impl<S: Send + Sync> FromRequestParts<S> for Ingress {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(basic(&parts.headers)))
    }
}

impl Part for Ingress {
    fn describe(sheet: &mut Sheet) {
        sheet.needs(INGRESS_KEY);
    }
}

async fn host_index(
    State(apps): State<Arc<Apps>>,
    Replica(app): Replica,
    Segments((_, host)): Segments<(String, String)>,
) -> Answer<HostIndex> {
    ok(apps.host_index(&app, &host)?)
}

async fn current_release(State(apps): State<Arc<Apps>>, Replica(app): Replica) -> Answer<CurrentRelease> {
    ok(apps.current_release(&app).await?)
}

async fn ssh_keys(State(apps): State<Arc<Apps>>, Replica(app): Replica) -> Answer<Vec<String>> {
    ok(apps.keys_that_enter(&app).await?)
}

/// FLAME's client tries again at 409, 412, 422 and 429.
async fn flame(
    State(apps): State<Arc<Apps>>,
    Replica(app): Replica,
    JsonBody(wish): JsonBody<Flame>,
) -> Result<Bare<FlameRunner, 201>, HttpError> {
    Ok(Bare(apps.flame(&app, wish).await?))
}

/// The query of `GET /api/default_backend/domain`.
#[derive(Deserialize, IntoParams)]
struct Asked {
    /// The host.
    #[serde(default)]
    domain: String,
}

async fn domain(
    State(apps): State<Arc<Apps>>,
    Ingress(tried): Ingress,
    Parameters(Asked { domain }): Parameters<Asked>,
) -> Answer<DomainStatus> {
    ok(apps.domain_status(&tried, &domain)?)
}
