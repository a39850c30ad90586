//! Successful answers.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::error::HttpError;
use crate::api::Data;

/// What every handler returns.
pub type Answer = Result<Response, HttpError>;

/// 200 with `{"data": …}`.
pub fn ok(data: impl Serialize) -> Answer {
    with(StatusCode::OK, data)
}

/// 201 with `{"data": …}`.
pub fn created(data: impl Serialize) -> Answer {
    with(StatusCode::CREATED, data)
}

/// 202 with `{"data": …}`.
pub fn accepted(data: impl Serialize) -> Answer {
    with(StatusCode::ACCEPTED, data)
}

fn with(status: StatusCode, data: impl Serialize) -> Answer {
    Ok((status, Json(Data { data })).into_response())
}
