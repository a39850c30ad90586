//! `/api/apps/A/run`, `/jobs`, `/jobs/ID`, `/jobs/ID/logs`.

use std::sync::Arc;

use axum::extract::State;
use tokio_util::sync::CancellationToken;

use super::Doors;
use super::answer::{Answer, Text, accepted, ok};
use super::auth::SignedIn;
use super::error::HttpError;
use super::extract::{JsonBody, Parameters, Segments};
use super::routes::Routes;
use crate::api::job::{Job, JobLogQuery, Run};
use crate::server::actions::apps::Apps;

pub(super) fn routes() -> Routes<Doors> {
    Routes::new()
        .post("/api/apps/{app}/run", run, "runs a command in a fresh replica")
        .put("/api/apps/{app}/run", run, "the same, as clients of 2017 ask for it")
        .get("/api/apps/{app}/jobs", list, "lists an app's jobs, newest first")
        .get("/api/apps/{app}/jobs/{job}", info, "tells of one job")
        .delete("/api/apps/{app}/jobs/{job}", stop, "ends a job")
        .get("/api/apps/{app}/jobs/{job}/logs", logs, "tells what a job said, and goes on to its end if asked to")
}

async fn run(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    JsonBody(wish): JsonBody<Run>,
) -> Answer<Job> {
    ok(apps.run(&user, &app, wish).await?)
}

async fn list(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
) -> Answer<Vec<Job>> {
    ok(apps.jobs(&user, &app).await?)
}

async fn info(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments((app, job)): Segments<(String, String)>,
) -> Answer<Job> {
    ok(apps.job(&user, &app, &job).await?)
}

async fn stop(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments((app, job)): Segments<(String, String)>,
) -> Answer<&'static str, 202> {
    apps.stop_job(&user, &app, &job).await?;
    accepted("stopping")
}

async fn logs(
    State(apps): State<Arc<Apps>>,
    State(shutdown): State<CancellationToken>,
    SignedIn { user, key }: SignedIn,
    Segments((app, job)): Segments<(String, String)>,
    Parameters(query): Parameters<JobLogQuery>,
) -> Result<Text, HttpError> {
    let lines = apps.job_lines(&user, &app, &job, query).await?;
    Ok(Text::flowing(lines, shutdown, apps.unseen(user, app, key)))
}
