//! `GET /healthz`: answers 200 while the server can read its database.

use axum::extract::State;

use super::answer::{Answer, ok};
use crate::server::actions::ActionError;
use crate::server::store::Store;

pub(super) async fn check(State(store): State<Store>) -> Answer<&'static str> {
    store.ping().await.map_err(|error| {
        tracing::error!(cause = %error, "the database does not answer");
        ActionError::Unavailable("the database does not answer".into())
    })?;
    ok("ok")
}
