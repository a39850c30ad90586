//! `/api/apps/A/status`, `/stats`, `/scale`, `/restart`, `/pods/P`.

use std::sync::Arc;

use axum::extract::State;

use super::Doors;
use super::answer::{Answer, accepted, ok};
use super::auth::SignedIn;
use super::extract::{JsonBody, Segments};
use super::routes::Routes;
use crate::api::app::{Scale, Stats, Status};
use crate::server::actions::apps::Apps;

pub(super) fn routes() -> Routes<Doors> {
    Routes::new()
        .get("/api/apps/{app}/status", status, "tells what runs")
        .get("/api/apps/{app}/stats", stats, "tells how much memory and processor time the replicas take")
        .put("/api/apps/{app}/scale", scale, "changes counts and size; an empty wish tells how things are")
        .put("/api/apps/{app}/restart", restart, "starts every replica anew")
        .post("/api/apps/{app}/cookie", rotate_cookie, "gives the app another Erlang cookie and replaces every replica")
        .delete("/api/apps/{app}/pods/{pod}", kill, "ends a replica, for a new one")
}

async fn status(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
) -> Answer<Status> {
    ok(apps.status(&user, &app).await?)
}

async fn stats(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
) -> Answer<Stats> {
    ok(apps.stats(&user, &app).await?)
}

pub(super) async fn scale(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    JsonBody(wish): JsonBody<Scale>,
) -> Answer<Scale> {
    ok(apps.scale(&user, &app, wish).await?)
}

async fn restart(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
) -> Answer<&'static str> {
    apps.restart(&user, &app).await?;
    ok("restarted")
}

async fn rotate_cookie(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
) -> Answer<&'static str> {
    apps.rotate_cookie(&user, &app).await?;
    ok("rotated")
}

async fn kill(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments((app, pod)): Segments<(String, String)>,
) -> Answer<&'static str, 202> {
    apps.kill(&user, &app, &pod).await?;
    accepted("killed")
}
