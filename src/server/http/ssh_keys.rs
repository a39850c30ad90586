//! `/api/ssh_keys`, `/api/ssh_keys/ID`.

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRef, State};
use axum::routing::{delete, get};

use super::answer::{Answer, created, ok};
use super::auth::SignedIn;
use super::extract::{JsonBody, Segments};
use crate::api::ssh_key::{AddSshKey, RemoveSshKey, SshKey};
use crate::server::actions::account::Accounts;
use crate::server::store::StoredSshKey;

type Shared = State<Arc<Accounts>>;

pub(super) fn routes<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Arc<Accounts>: FromRef<S>,
{
    Router::new()
        .route("/api/ssh_keys", get(list).post(add).delete(remove))
        .route("/api/ssh_keys/{id}", delete(remove_2017))
}

async fn list(State(accounts): Shared, SignedIn { user, .. }: SignedIn) -> Answer {
    ok(accounts.ssh_keys(&user).await?.into_iter().map(shown).collect::<Vec<_>>())
}

async fn add(State(accounts): Shared, SignedIn { user, .. }: SignedIn, JsonBody(wish): JsonBody<AddSshKey>) -> Answer {
    created(shown(accounts.add_ssh_key(&user, &wish.ssh_key).await?))
}

async fn remove(
    State(accounts): Shared,
    SignedIn { user, .. }: SignedIn,
    JsonBody(wish): JsonBody<RemoveSshKey>,
) -> Answer {
    accounts.remove_ssh_key(&user, &wish.id).await?;
    ok("deleted")
}

/// The form of 2017.
async fn remove_2017(
    State(accounts): Shared,
    SignedIn { user, .. }: SignedIn,
    Segments(id): Segments<String>,
) -> Answer {
    accounts.remove_ssh_key(&user, &id).await?;
    ok("deleted")
}

fn shown(StoredSshKey { id, key }: StoredSshKey) -> SshKey {
    SshKey { id: id.to_string(), key: key.as_str().to_owned(), fingerprint: key.to_string() }
}

#[cfg(test)]
mod tests;
