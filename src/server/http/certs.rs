//! `/api/apps/A/certs`; and `GET /ca.pem`: the root of the platform's own CA, for whoever wants to trust it.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::Doors;
use super::answer::{Answer, created, ok};
use super::auth::SignedIn;
use super::error::HttpError;
use super::extract::{JsonBody, Segments};
use crate::api::cert::{AddCert, RenewCert};
use crate::api::domain::Domain;
use crate::server::actions::ActionError;
use crate::server::actions::apps::Apps;
use crate::server::tls::Tls;

/// The type of `/ca.pem`: everything saves it.
pub const CA_FILE: &str = "application/x-pem-file";

pub(super) fn routes() -> Router<Doors> {
    Router::new()
        .route("/ca.pem", get(root))
        .route("/api/apps/{app}/certs", get(list).post(add).delete(remove))
        .route("/api/apps/{app}/certs/renew", post(renew))
}

async fn root(State(tls): State<Tls>) -> Result<Response, HttpError> {
    match tls.root() {
        Some(root) => Ok(([(CONTENT_TYPE, CA_FILE)], root.to_owned()).into_response()),
        None => Err(ActionError::NotFound("this platform has no CA of its own".into()).into()),
    }
}

async fn list(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
) -> Answer {
    ok(apps.certs(&user, &app).await?)
}

async fn add(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    JsonBody(wish): JsonBody<AddCert>,
) -> Answer {
    created(apps.add_cert(&user, &app, wish).await?)
}

async fn remove(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    JsonBody(Domain { fqdn }): JsonBody<Domain>,
) -> Answer {
    apps.remove_cert(&user, &app, &fqdn).await?;
    ok("deleted")
}

async fn renew(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    JsonBody(wish): JsonBody<RenewCert>,
) -> Answer {
    ok(apps.renew_cert(&user, &app, wish).await?)
}
