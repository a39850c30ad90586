//! `GET /api/apps/A/logs`: chunked plain text, sent on as it comes.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;

use super::Doors;
use super::auth::SignedIn;
use super::error::HttpError;
use super::extract::{Parameters, Segments};
use crate::api::log::LogQuery;
use crate::server::actions::apps::Apps;

/// Lines that go out together when they are there together; a single line never waits for another.
const LINES_AT_ONCE: usize = 256;

pub(super) fn routes() -> Router<Doors> {
    Router::new().route("/api/apps/{app}/logs", get(read))
}

async fn read(
    State(apps): State<Arc<Apps>>,
    State(shutdown): State<CancellationToken>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    Parameters(query): Parameters<LogQuery>,
) -> Result<Response, HttpError> {
    let lines = apps.logs(&user, &app, query).await?;
    let pieces = lines
        .ready_chunks(LINES_AT_ONCE)
        .map(|lines| Ok::<_, Infallible>(lines.concat()))
        .take_until(shutdown.cancelled_owned());
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        // nginx would keep lines back until a buffer is full.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(pieces)).into_response())
}
