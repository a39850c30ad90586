//! `/api/payment_methods`, `/api/upgrade`. A token is kept, nothing is charged, and the tier stays what it is.

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRef, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::{get, post};
use serde_json::json;

use super::answer::{Answer, created, ok};
use super::auth::SignedIn;
use super::error::HttpError;
use super::extract::JsonBody;
use crate::api::account::{PaymentMethod, PaymentToken};
use crate::server::actions::ActionError;
use crate::server::actions::account::Accounts;

type Shared = State<Arc<Accounts>>;

pub(super) fn routes<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Arc<Accounts>: FromRef<S>,
{
    Router::new().route("/api/payment_methods", get(show).put(set)).route("/api/upgrade", post(upgrade))
}

/// Nothing is known of a card: its token is opaque.
async fn show(State(accounts): Shared, SignedIn { user, .. }: SignedIn) -> Answer {
    match accounts.has_payment_method(&user).await? {
        true => ok(PaymentMethod { brand: "unknown".into(), ..PaymentMethod::default() }),
        false => Err(HttpError::new(StatusCode::NOT_FOUND, "", "no payment method was set")),
    }
}

/// Clients before 2018 announce only `python-requests` and know only 201.
async fn set(
    State(accounts): Shared,
    SignedIn { user, .. }: SignedIn,
    headers: HeaderMap,
    JsonBody(wish): JsonBody<PaymentToken>,
) -> Answer {
    accounts.set_payment_method(&user, &wish.stripe_token).await?;
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let done = json!({ "message": "Payment method set." });
    if agent.starts_with("python-requests/") { created(done) } else { ok(done) }
}

async fn upgrade(
    State(accounts): Shared,
    SignedIn { user, .. }: SignedIn,
    JsonBody(wish): JsonBody<PaymentToken>,
) -> Answer {
    if wish.promo_code.is_some() {
        return Err(ActionError::invalid("promo_code", "is not known: this platform sells nothing").into());
    }
    accounts.set_payment_method(&user, &wish.stripe_token).await?;
    ok(json!({ "message": "This platform sells nothing: the tier stays FREE, which has no limits of its own." }))
}

#[cfg(test)]
mod tests;
