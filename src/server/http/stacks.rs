//! `/api/stacks`.

use std::sync::Arc;

use axum::extract::State;

use super::Doors;
use super::answer::{Answer, ok};
use super::auth::SignedIn;
use super::routes::Routes;
use crate::api::stack::Stack;
use crate::server::actions::apps::Apps;

pub(super) fn routes() -> Routes<Doors> {
    Routes::new().get("/api/stacks", list, "lists what apps can be built on and run in")
}

async fn list(State(apps): State<Arc<Apps>>, SignedIn { user, .. }: SignedIn) -> Answer<Vec<Stack>> {
    ok(apps.stacks(&user).await?)
}
