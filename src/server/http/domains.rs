//! `/api/apps/A/domains`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;

use super::Doors;
use super::answer::{Answer, created, ok};
use super::auth::SignedIn;
use super::extract::{JsonBody, Segments};
use crate::api::domain::{AddDomain, Domain};
use crate::server::actions::apps::Apps;

pub(super) fn routes() -> Router<Doors> {
    Router::new().route("/api/apps/{app}/domains", get(list).post(add).delete(remove))
}

async fn list(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
) -> Answer {
    ok(apps.domains(&user, &app).await?)
}

async fn add(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    JsonBody(AddDomain { fqdn, check }): JsonBody<AddDomain>,
) -> Answer {
    created(apps.add_domain(&user, &app, &fqdn, check).await?)
}

async fn remove(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    JsonBody(Domain { fqdn }): JsonBody<Domain>,
) -> Answer {
    apps.remove_domain(&user, &app, &fqdn).await?;
    ok("deleted")
}
