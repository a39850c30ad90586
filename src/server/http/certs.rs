//! `/api/apps/A/certs`; and `GET /ca.pem`: the root of the platform's own CA, for whoever wants to trust it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::Doors;
use super::answer::{Answer, Text, created, ok};
use super::auth::SignedIn;
use super::error::HttpError;
use super::extract::{JsonBody, Segments};
use super::routes::Routes;
use crate::api::cert::{AddCert, Cert, RenewCert};
use crate::api::domain::Domain;
use crate::server::actions::ActionError;
use crate::server::actions::apps::Apps;
use crate::server::tls::Tls;

/// The type of `/ca.pem`.
pub const CA_FILE: &str = "text/plain; charset=utf-8";

pub(super) fn routes() -> Routes<Doors> {
    Routes::new()
        .get("/ca.pem", root, "downloads the root of the platform's own CA")
        .get("/api/apps/{app}/certs", list, "lists the certificates of an app's hosts")
        .post("/api/apps/{app}/certs", add, "serves an own certificate for a host")
        .delete("/api/apps/{app}/certs", remove, "serves an own certificate no longer")
        .post("/api/apps/{app}/certs/renew", renew, "has a host's certificate made anew")
}

async fn root(State(tls): State<Tls>) -> Result<Text, HttpError> {
    match tls.root() {
        Some(root) => Ok(Text(([(CONTENT_TYPE, CA_FILE)], root.to_owned()).into_response())),
        None => Err(ActionError::NotFound("this platform has no CA of its own".into()).into()),
    }
}

async fn list(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
) -> Answer<Vec<Cert>> {
    ok(apps.certs(&user, &app).await?)
}

async fn add(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    JsonBody(wish): JsonBody<AddCert>,
) -> Answer<Cert, 201> {
    created(apps.add_cert(&user, &app, wish).await?)
}

async fn remove(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    JsonBody(Domain { fqdn }): JsonBody<Domain>,
) -> Answer<&'static str> {
    apps.remove_cert(&user, &app, &fqdn).await?;
    ok("deleted")
}

async fn renew(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    JsonBody(wish): JsonBody<RenewCert>,
) -> Answer<Cert> {
    ok(apps.renew_cert(&user, &app, wish).await?)
}
