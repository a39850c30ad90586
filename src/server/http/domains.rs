//! `/api/apps/A/domains`.

use std::sync::Arc;

use axum::extract::State;

use super::Doors;
use super::answer::{Answer, created, ok};
use super::auth::SignedIn;
use super::extract::{JsonBody, Segments};
use super::routes::Routes;
use crate::api::domain::{Added, Domain};
use crate::server::actions::apps::Apps;

pub(super) fn routes() -> Routes<Doors> {
    Routes::new()
        .get("/api/apps/{app}/domains", list, "lists an app's own domains")
        .post("/api/apps/{app}/domains", add, "adds a domain")
        .delete("/api/apps/{app}/domains", remove, "removes a domain")
}

async fn list(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
) -> Answer<Vec<String>> {
    ok(apps.domains(&user, &app).await?)
}

async fn add(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    JsonBody(Domain { fqdn }): JsonBody<Domain>,
) -> Answer<Added, 201> {
    created(apps.add_domain(&user, &app, &fqdn).await?)
}

async fn remove(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    JsonBody(Domain { fqdn }): JsonBody<Domain>,
) -> Answer<&'static str> {
    apps.remove_domain(&user, &app, &fqdn).await?;
    ok("deleted")
}
