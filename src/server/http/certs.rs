//! `GET /ca.pem`: the root of the platform's own CA, for whoever wants to trust it.

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Doors;
use super::error::HttpError;
use crate::server::actions::ActionError;
use crate::server::tls::Tls;

/// The type of `/ca.pem`: browsers offer to trust it, everything else saves it.
pub const CA_FILE: &str = "application/x-pem-file";

pub(super) fn routes() -> Router<Doors> {
    Router::new().route("/ca.pem", get(root))
}

async fn root(State(tls): State<Tls>) -> Result<Response, HttpError> {
    match tls.root() {
        Some(root) => Ok(([(CONTENT_TYPE, CA_FILE)], root.to_owned()).into_response()),
        None => Err(ActionError::NotFound("this platform has no CA of its own".into()).into()),
    }
}
