//! `/api/apps/A/run`, `/jobs`, `/jobs/ID`, `/jobs/ID/logs`.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;

use super::Doors;
use super::answer::{Answer, accepted, ok};
use super::auth::SignedIn;
use super::error::HttpError;
use super::extract::{JsonBody, Parameters, Segments};
use crate::api::job::{JobLogQuery, Run};
use crate::server::actions::apps::Apps;

/// Lines that go out together when they are there together.
const LINES_AT_ONCE: usize = 256;

pub(super) fn routes() -> Router<Doors> {
    Router::new()
        .route("/api/apps/{app}/run", post(run).put(run))
        .route("/api/apps/{app}/jobs", get(list))
        .route("/api/apps/{app}/jobs/{job}", get(info).delete(stop))
        .route("/api/apps/{app}/jobs/{job}/logs", get(logs))
}

async fn run(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    JsonBody(wish): JsonBody<Run>,
) -> Answer {
    ok(apps.run(&user, &app, wish).await?)
}

async fn list(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
) -> Answer {
    ok(apps.jobs(&user, &app).await?)
}

async fn info(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments((app, job)): Segments<(String, String)>,
) -> Answer {
    ok(apps.job(&user, &app, &job).await?)
}

async fn stop(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments((app, job)): Segments<(String, String)>,
) -> Answer {
    apps.stop_job(&user, &app, &job).await?;
    accepted("stopping")
}

async fn logs(
    State(apps): State<Arc<Apps>>,
    State(shutdown): State<CancellationToken>,
    SignedIn { user, .. }: SignedIn,
    Segments((app, job)): Segments<(String, String)>,
    Parameters(query): Parameters<JobLogQuery>,
) -> Result<Response, HttpError> {
    let lines = apps.job_lines(&user, &app, &job, query).await?;
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
