//! `/api/mfa…`.

use std::sync::Arc;

use axum::extract::{FromRef, State};
use axum::http::HeaderMap;

use super::answer::{Answer, ok};
use super::auth::{SignedIn, basic};
use super::extract::JsonBody;
use super::routes::Routes;
use crate::api::Message;
use crate::api::mfa::{MfaSecret, MfaToken, RecoveryCodes};
use crate::server::actions::account::Accounts;

type Shared = State<Arc<Accounts>>;

pub(super) fn routes<S>() -> Routes<S>
where
    S: Clone + Send + Sync + 'static,
    Arc<Accounts>: FromRef<S>,
{
    Routes::new()
        .delete("/api/mfa", deactivate, "ends the second factor")
        .post("/api/mfa/start", start, "tells the secret of a second factor to be")
        .post("/api/mfa/verify", verify, "begins to ask for it")
        .post("/api/mfa/recovery_codes", renew_codes, "replaces the recovery codes")
}

async fn start(State(accounts): Shared, SignedIn { user, .. }: SignedIn) -> Answer<MfaSecret> {
    let url = accounts.begin_mfa(&user).await?;
    ok(MfaSecret { message: "Add this to your authenticator app, then give the token that it shows.".into(), url })
}

async fn verify(
    State(accounts): Shared,
    SignedIn { user, .. }: SignedIn,
    headers: HeaderMap,
    JsonBody(MfaToken { mfa_token }): JsonBody<MfaToken>,
) -> Answer<RecoveryCodes> {
    let recovery_codes = accounts.activate_mfa(&user, &mfa_token, &basic(&headers)).await?;
    let message = "Multi-factor authentication is active. All other API keys have ended.".into();
    ok(RecoveryCodes { message, recovery_codes })
}

async fn deactivate(State(accounts): Shared, SignedIn { user, .. }: SignedIn) -> Answer<Message> {
    accounts.deactivate_mfa(&user).await?;
    ok(Message::new("Multi-factor authentication is off."))
}

async fn renew_codes(State(accounts): Shared, SignedIn { user, .. }: SignedIn) -> Answer<RecoveryCodes> {
    let recovery_codes = accounts.renew_recovery_codes(&user).await?;
    ok(RecoveryCodes { message: "These replace all earlier recovery codes.".into(), recovery_codes })
}

#[cfg(test)]
mod tests;
