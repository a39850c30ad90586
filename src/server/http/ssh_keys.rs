//! `/api/ssh_keys`, `/api/ssh_keys/ID`.

use std::sync::Arc;

use axum::extract::{FromRef, State};

use super::answer::{Answer, created, ok};
use super::auth::SignedIn;
use super::extract::{JsonBody, Segments};
use super::routes::Routes;
use crate::api::ssh_key::{AddSshKey, RemoveSshKey, SshKey};
use crate::server::actions::account::Accounts;
use crate::server::store::StoredSshKey;

type Shared = State<Arc<Accounts>>;

pub(super) fn routes<S>() -> Routes<S>
where
    S: Clone + Send + Sync + 'static,
    Arc<Accounts>: FromRef<S>,
{
    Routes::new()
        .get("/api/ssh_keys", list, "lists one's ssh keys")
        .post("/api/ssh_keys", add, "adds an ssh key")
        .delete("/api/ssh_keys", remove, "removes an ssh key")
        .delete("/api/ssh_keys/{id}", remove_2017, "removes an ssh key, as clients of 2017 do")
}

async fn list(State(accounts): Shared, SignedIn { user, .. }: SignedIn) -> Answer<Vec<SshKey>> {
    ok(accounts.ssh_keys(&user).await?.into_iter().map(shown).collect::<Vec<_>>())
}

async fn add(
    State(accounts): Shared,
    SignedIn { user, .. }: SignedIn,
    JsonBody(wish): JsonBody<AddSshKey>,
) -> Answer<SshKey, 201> {
    created(shown(accounts.add_ssh_key(&user, &wish.ssh_key).await?))
}

async fn remove(
    State(accounts): Shared,
    SignedIn { user, .. }: SignedIn,
    JsonBody(wish): JsonBody<RemoveSshKey>,
) -> Answer<&'static str> {
    accounts.remove_ssh_key(&user, &wish.id).await?;
    ok("deleted")
}

/// The form of 2017.
async fn remove_2017(
    State(accounts): Shared,
    SignedIn { user, .. }: SignedIn,
    Segments(id): Segments<String>,
) -> Answer<&'static str> {
    accounts.remove_ssh_key(&user, &id).await?;
    ok("deleted")
}

fn shown(StoredSshKey { id, key }: StoredSshKey) -> SshKey {
    SshKey { id: id.to_string(), key: key.as_str().to_owned(), fingerprint: key.to_string() }
}

#[cfg(test)]
mod tests;
