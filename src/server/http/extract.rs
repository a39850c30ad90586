//! Reading requests: axum's extractors with refusals in our envelope, and a JSON body that may be empty.

use std::time::Duration;

use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use utoipa::{IntoParams, ToSchema};

use super::error::HttpError;
use super::routes::{Part, Sheet};

/// How long a client may take to send a JSON body.
const BODY_PATIENCE: Duration = Duration::from_secs(30);

/// A JSON body, whatever the method and the content type. An empty body counts as `{}`: the official client announces
/// JSON on every request and sends none on most. Unknown fields are ignored.
#[derive(Debug)]
pub struct JsonBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = HttpError;

    async fn from_request(request: Request, state: &S) -> Result<Self, HttpError> {
        let bytes = tokio::time::timeout(BODY_PATIENCE, Bytes::from_request(request, state))
            .await
            .map_err(|_| HttpError::new(StatusCode::REQUEST_TIMEOUT, "", "the request body did not arrive in time"))?
            .map_err(|rejection| unreadable(&rejection))?;
        let text: &[u8] = if bytes.trim_ascii().is_empty() { b"{}" } else { &bytes };
        serde_json::from_slice(text).map(Self).map_err(|error| malformed(&error))
    }
}

fn unreadable(rejection: &BytesRejection) -> HttpError {
    let message = match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => "the request body is too large",
        _ => "the request body could not be read",
    };
    HttpError::new(rejection.status(), "", message)
}

/// Text that is no JSON is 400; JSON of the wrong shape is 422. serde's messages quote offending values only when they
/// have the wrong type, so a secret in its right place is never echoed.
fn malformed(error: &serde_json::Error) -> HttpError {
    if error.is_data() {
        HttpError::new(StatusCode::UNPROCESSABLE_ENTITY, "", format!("the request body does not fit: {error}"))
    } else {
        HttpError::new(StatusCode::BAD_REQUEST, "", format!("the request body is not valid JSON: {error}"))
    }
}

/// The path's segments, percent-decoded.
#[derive(Debug)]
pub struct Segments<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Segments<T> {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(_) => Err(HttpError::new(StatusCode::NOT_FOUND, "", "there is nothing at this address")),
        }
    }
}

/// The query's parameters.
#[derive(Debug)]
pub struct Parameters<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Parameters<T> {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(value)) => Ok(Self(value)),
            Err(why) => Err(HttpError::new(StatusCode::UNPROCESSABLE_ENTITY, "", why.body_text())),
        }
    }
}

impl<T: ToSchema> Part for JsonBody<T> {
    fn describe(sheet: &mut Sheet) {
        sheet.body::<T>();
    }
}

/// Which segments there are is told by the path.
impl<T> Part for Segments<T> {
    fn describe(sheet: &mut Sheet) {
        sheet.refuses(404, "There is no such thing, or it is another person's.");
        sheet.refuses(403, "One's role does not reach so far.");
        sheet.refuses(409, "Something else is going on.");
        sheet.refuses(422, "It asks for what cannot be.");
    }
}

impl<T: IntoParams> Part for Parameters<T> {
    fn describe(sheet: &mut Sheet) {
        sheet.query::<T>();
    }
}
