//! `/api/nodes`.

use std::sync::Arc;

use axum::extract::State;

use super::Doors;
use super::answer::{Answer, ok};
use super::auth::SignedIn;
use super::routes::Routes;
use crate::api::machine::Machine;
use crate::server::actions::apps::Apps;

pub(super) fn routes() -> Routes<Doors> {
    Routes::new().get("/api/nodes", list, "lists the machines that replicas run on")
}

async fn list(State(apps): State<Arc<Apps>>, SignedIn { user, .. }: SignedIn) -> Answer<Vec<Machine>> {
    ok(apps.machines(&user).await?)
}
