//! `GET /slugs/DIGEST.tar.gz?expires=…&signature=…`: a slug's archive, for whoever holds a URL that we signed. No other
//! credential is asked for, ranges work.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use tower::ServiceExt;
use tower_http::services::ServeFile;

use super::Doors;
use super::error::HttpError;
use super::extract::{Parameters, Segments};
use crate::server::actions::ActionError;
use crate::server::domain::SlugDigest;
use crate::server::slugs::{Slugs, SlugsError};

pub(super) fn routes() -> Router<Doors> {
    Router::new().route("/slugs/{file}", get(fetch))
}

#[derive(Debug, Deserialize)]
struct Signed {
    expires: u64,
    signature: String,
}

async fn fetch(
    State(slugs): State<Arc<Slugs>>,
    Segments(file): Segments<String>,
    Parameters(Signed { expires, signature }): Parameters<Signed>,
    request: Request,
) -> Result<Response, HttpError> {
    let digest = file.strip_suffix(".tar.gz").map(SlugDigest::parse);
    let Some(Ok(digest)) = digest else {
        return Err(ActionError::NotFound("there is no such slug".into()).into());
    };
    if !slugs.verify(&digest, expires, &signature) {
        return Err(HttpError::new(StatusCode::FORBIDDEN, "", "this slug's address is not genuine or has expired"));
    }
    let path = slugs.local_path(&digest).await.map_err(|error| match error {
        SlugsError::Missing(_) => ActionError::NotFound("this slug is no longer kept".into()),
        other => ActionError::internal(other),
    })?;
    let served = ServeFile::new(path).oneshot(request).await.map_err(ActionError::internal)?;
    let mut response = served.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/gzip"));
    Ok(response)
}
