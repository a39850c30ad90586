//! `/api/payment_methods`, `/api/upgrade`. A token is kept, nothing is charged; where use has a price, upgrading
//! makes the tier STANDARD.

use std::sync::Arc;

use axum::extract::{FromRef, State};
use axum::http::{HeaderMap, StatusCode, header};

use super::answer::{Answer, Either, Success, created, ok};
use super::auth::SignedIn;
use super::error::HttpError;
use super::extract::JsonBody;
use super::routes::Routes;
use crate::api::Message;
use crate::api::account::{PaymentMethod, PaymentToken};
use crate::server::actions::ActionError;
use crate::server::actions::account::Accounts;
use crate::server::domain::Tier;

type Shared = State<Arc<Accounts>>;

pub(super) fn routes<S>() -> Routes<S>
where
    S: Clone + Send + Sync + 'static,
    Arc<Accounts>: FromRef<S>,
{
    Routes::new()
        .get("/api/payment_methods", show, "tells what is known of the card")
        .refusing(404, "No payment method was set.")
        .put("/api/payment_methods", set, "keeps a payment service's token; clients of 2017 read 201")
        .post("/api/upgrade", upgrade, "keeps a payment service's token")
}

/// Nothing is known of a card: its token is opaque.
async fn show(State(accounts): Shared, SignedIn { user, .. }: SignedIn) -> Answer<PaymentMethod> {
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
) -> Result<Either<Success<Message>, Success<Message, 201>>, HttpError> {
    accounts.set_payment_method(&user, &wish.stripe_token).await?;
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let done = Message::new("Payment method set.");
    Ok(match agent.starts_with("python-requests/") {
        true => Either::That(created(done)?),
        false => Either::This(ok(done)?),
    })
}

async fn upgrade(
    State(accounts): Shared,
    SignedIn { user, .. }: SignedIn,
    JsonBody(wish): JsonBody<PaymentToken>,
) -> Answer<Message> {
    if wish.promo_code.is_some() {
        return Err(ActionError::invalid("promo_code", "is not known: this platform sells nothing").into());
    }
    match accounts.upgrade(&user, &wish.stripe_token).await? {
        Tier::Standard => {
            ok(Message::new("Account upgraded: the tier is STANDARD. Invoices are told, nobody is charged."))
        }
        Tier::Free => {
            ok(Message::new("This platform sells nothing: the tier stays FREE, which has no limits of its own."))
        }
    }
}

#[cfg(test)]
mod tests;
