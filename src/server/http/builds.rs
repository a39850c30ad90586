//! `/builds/NAME/folders?expires=…&signature=…`: what a build on another machine begins with (GET) and what it hands in
//! (PUT), for whoever holds the address that we signed for it. No other credential is asked for.

use std::io;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse as _;
use futures_util::TryStreamExt as _;
use tower::ServiceExt as _;
use tower_http::services::ServeFile;

use super::Doors;
use super::answer::{Folders, Text};
use super::error::HttpError;
use super::extract::{Parameters, Segments};
use super::routes::Routes;
use super::slugs::Signed;
use crate::server::actions::ActionError;
use crate::server::parcels::{ParcelError, Parcels};

const FOLDERS: &str = "/builds/{build}/folders";

pub(super) fn routes() -> Routes<Doors> {
    Routes::new()
        .get(FOLDERS, fetch, "downloads what a build in a cluster begins with, for whoever has a signed address")
        .put(FOLDERS, hand_in, "takes in what a build in a cluster has made, from whoever has a signed address")
        .refusing(413, "It is more than the build may hand in.")
}

async fn fetch(
    State(parcels): State<Arc<Parcels>>,
    Segments(build): Segments<String>,
    Parameters(Signed { expires, signature }): Parameters<Signed>,
    request: Request,
) -> Result<Folders, HttpError> {
    let path = parcels.outgoing(&build, expires, &signature).map_err(refused)?;
    let served = ServeFile::new(path).oneshot(request).await.map_err(ActionError::internal)?;
    let mut response = served.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-tar"));
    Ok(Folders(response))
}

async fn hand_in(
    State(parcels): State<Arc<Parcels>>,
    Segments(build): Segments<String>,
    Parameters(Signed { expires, signature }): Parameters<Signed>,
    request: Request,
) -> Result<Text, HttpError> {
    let body = request.into_body().into_data_stream().map_err(io::Error::other);
    parcels.take_in(&build, expires, &signature, body).await.map_err(refused)?;
    Ok(Text("It is taken in.\n".into_response()))
}

fn refused(error: ParcelError) -> HttpError {
    let status = match &error {
        ParcelError::Foreign => StatusCode::FORBIDDEN,
        ParcelError::Unknown => StatusCode::NOT_FOUND,
        ParcelError::Done => StatusCode::CONFLICT,
        ParcelError::Overtaken | ParcelError::Closed => StatusCode::SERVICE_UNAVAILABLE,
        ParcelError::TooMuch => StatusCode::PAYLOAD_TOO_LARGE,
        ParcelError::Broken(_) => StatusCode::BAD_REQUEST,
        ParcelError::Io(_) => return ActionError::internal(error).into(),
    };
    HttpError::new(status, "", error.to_string())
}
