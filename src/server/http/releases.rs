//! `/api/apps/A/releases…`.

use std::sync::Arc;

use axum::extract::State;

use super::Doors;
use super::answer::{Answer, ok};
use super::auth::SignedIn;
use super::extract::Segments;
use super::routes::Routes;
use crate::api::release::Release;
use crate::server::actions::apps::Apps;

pub(super) fn routes() -> Routes<Doors> {
    Routes::new()
        .get("/api/apps/{app}/releases", list, "lists an app's releases, newest first")
        .get("/api/apps/{app}/releases/{which}", show, "describes a release")
        .post("/api/apps/{app}/releases/{which}/rollback", rollback, "makes a new release of an old one")
}

async fn list(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
) -> Answer<Vec<Release>> {
    ok(apps.releases(&user, &app).await?)
}

async fn show(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments((app, which)): Segments<(String, String)>,
) -> Answer<Release> {
    ok(apps.release(&user, &app, &which).await?)
}

async fn rollback(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments((app, which)): Segments<(String, String)>,
) -> Answer<&'static str> {
    apps.rollback(&user, &app, &which).await?;
    ok("rolled back")
}
