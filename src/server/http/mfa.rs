//! `/api/mfa…`.

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRef, State};
use axum::http::HeaderMap;
use axum::routing::{delete, post};

use super::answer::{Answer, ok};
use super::auth::{SignedIn, basic};
use super::extract::JsonBody;
use crate::api::mfa::{MfaSecret, MfaToken, RecoveryCodes};
use crate::server::actions::account::Accounts;

type Shared = State<Arc<Accounts>>;

pub(super) fn routes<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Arc<Accounts>: FromRef<S>,
{
    Router::new()
        .route("/api/mfa", delete(deactivate))
        .route("/api/mfa/start", post(start))
        .route("/api/mfa/verify", post(verify))
        .route("/api/mfa/recovery_codes", post(renew_codes))
}

async fn start(State(accounts): Shared, SignedIn { user, .. }: SignedIn) -> Answer {
    let url = accounts.begin_mfa(&user).await?;
    ok(MfaSecret { message: "Add this to your authenticator app, then give the token that it shows.".into(), url })
}

async fn verify(
    State(accounts): Shared,
    SignedIn { user, .. }: SignedIn,
    headers: HeaderMap,
    JsonBody(MfaToken { mfa_token }): JsonBody<MfaToken>,
) -> Answer {
    let recovery_codes = accounts.activate_mfa(&user, &mfa_token, &basic(&headers)).await?;
    let message = "Multi-factor authentication is active. All other API keys have ended.".into();
    ok(RecoveryCodes { message, recovery_codes })
}

async fn deactivate(State(accounts): Shared, SignedIn { user, .. }: SignedIn) -> Answer {
    accounts.deactivate_mfa(&user).await?;
    ok(serde_json::json!({ "message": "Multi-factor authentication is off." }))
}

async fn renew_codes(State(accounts): Shared, SignedIn { user, .. }: SignedIn) -> Answer {
    let recovery_codes = accounts.renew_recovery_codes(&user).await?;
    ok(RecoveryCodes { message: "These replace all earlier recovery codes.".into(), recovery_codes })
}

#[cfg(test)]
mod tests;
