//! `GET /api/apps/A/logs`: chunked plain text, sent on as it comes.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, header};
use axum::response::IntoResponse;
use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;

use super::Doors;
use super::answer::Text;
use super::auth::SignedIn;
use super::error::HttpError;
use super::extract::{Parameters, Segments};
use super::routes::Routes;
use crate::api::log::LogQuery;
use crate::server::actions::apps::Apps;

/// Lines that go out together when they are there together; a single line never waits for another.
const LINES_AT_ONCE: usize = 256;

pub(super) fn routes() -> Routes<Doors> {
    Routes::new().get("/api/apps/{app}/logs", read, "tells an app's log, and goes on")
}

async fn read(
    State(apps): State<Arc<Apps>>,
    State(shutdown): State<CancellationToken>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    Parameters(query): Parameters<LogQuery>,
) -> Result<Text, HttpError> {
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
    Ok(Text((headers, Body::from_stream(pieces)).into_response()))
}
