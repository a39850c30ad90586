//! `/api/apps/A/observer`.

use std::sync::Arc;

use axum::extract::State;

use super::Doors;
use super::answer::{Answer, ok};
use super::auth::SignedIn;
use super::extract::{Parameters, Segments};
use super::routes::Routes;
use crate::api::observer::{Node, ObserverQuery, Snapshot};
use crate::server::actions::apps::Apps;

pub(super) fn routes() -> Routes<Doors> {
    Routes::new().get("/api/apps/{app}/observer", observe, "tells how a replica's Erlang node is").get(
        "/api/apps/{app}/observer/node",
        node,
        "tells how to connect to a replica's Erlang node",
    )
}

async fn observe(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    Parameters(query): Parameters<ObserverQuery>,
) -> Answer<Snapshot> {
    ok(apps.observe(&user, &app, query).await?)
}

async fn node(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    Parameters(query): Parameters<ObserverQuery>,
) -> Answer<Node> {
    ok(apps.node(&user, &app, query).await?)
}
