//! `GET /slugs/DIGEST.tar.gz?expires=…&signature=…`: a slug's archive, for whoever holds a URL that we signed. No other
//! credential is asked for, ranges work.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use serde::Deserialize;
use tower::ServiceExt;
use tower_http::services::ServeFile;
use utoipa::IntoParams;

use super::Doors;
use super::answer::Archive;
use super::error::HttpError;
use super::extract::{Parameters, Segments};
use super::routes::Routes;
use crate::server::actions::ActionError;
use crate::server::domain::SlugDigest;
use crate::server::slugs::{Slugs, SlugsError};

pub(super) fn routes() -> Routes<Doors> {
    Routes::new().get("/slugs/{file}", fetch, "downloads what was built, for whoever has a signed address")
}

/// What an address is signed with.
#[derive(Debug, Deserialize, IntoParams)]
pub(super) struct Signed {
    /// Unix seconds.
    pub(super) expires: u64,
    /// Ours.
    pub(super) signature: String,
}

async fn fetch(
    State(slugs): State<Arc<Slugs>>,
    Segments(file): Segments<String>,
    Parameters(Signed { expires, signature }): Parameters<Signed>,
    request: Request,
) -> Result<Archive, HttpError> {
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
    Ok(Archive(response))
}
