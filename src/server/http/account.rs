//! `/api/signup`, `/api/login`, `/api/users…`, `/api/api_keys…`.
//!
//! Signing in and up, and resets, are for strangers: those handlers do not look at a key, so a stale one in somebody's
//! netrc does not stand in the way.

use std::sync::Arc;

use axum::extract::{FromRef, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{delete, get, patch, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;

use super::answer::{Answer, created, ok};
use super::auth::{SignedIn, basic};
use super::error::HttpError;
use super::extract::{JsonBody, Parameters};
use super::origin::{Origin, TrustedProxies};
use crate::api::account::{
    Account, ChangeEmail, ChangePassword, DestroyAccount, EmailOnly, Key, MailedToken, SetPassword, SignedUp,
    SignupSession, SignupStep,
};
use crate::server::actions::ActionError;
use crate::server::actions::account::{Accounts, MintedKey};
use crate::server::domain::Email;

type Shared = State<Arc<Accounts>>;

pub(super) fn routes<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Arc<Accounts>: FromRef<S>,
    TrustedProxies: FromRef<S>,
{
    Router::new()
        .route("/api/signup", post(signup))
        .route("/api/login", get(login))
        .route("/api/users", get(show).post(signup_2017).patch(change_password_2017))
        .route("/api/users/destroy", delete(destroy))
        .route("/api/users/email", post(change_email))
        .route("/api/users/email/confirm", post(confirm_email))
        .route("/api/users/email/revoke", post(revoke_email))
        .route("/api/validate_email", get(validate_email_2017))
        .route("/api/users/change_password", patch(change_password))
        .route("/api/users/reset_password", put(request_reset).post(reset_password))
        .route("/api/users/reconfirm_email", put(resend_confirmation))
        .route("/api/api_keys", post(key_2017))
        .route("/api/api_keys/regenerate", post(regenerate_key))
}

/// The step is told by which field is there; a later step's field goes first.
async fn signup(State(accounts): Shared, Origin(from): Origin, JsonBody(step): JsonBody<SignupStep>) -> Answer {
    let uuid = step.uuid.unwrap_or_default();
    if let Some(tier) = step.tier {
        let (user, key) = accounts.finish_signup(&uuid, &tier, from).await?;
        return ok(SignedUp { email: user.email.to_string(), key: key.text });
    }
    if step.stripe_token.is_some() {
        return refuse("stripe_token", "is not taken: this platform sells nothing, choose the free tier");
    }
    if step.promo_code.is_some() {
        return refuse("promo_code", "is not known: this platform sells nothing");
    }
    if let Some(password) = step.password {
        accounts.choose_password(&uuid, &password, from).await?;
        return ok(SignupSession { uuid });
    }
    if let Some(code) = step.confirmation_code {
        accounts.confirm_signup(&uuid, &code, from).await?;
        return ok(SignupSession { uuid });
    }
    match step.email {
        Some(email) => ok(SignupSession { uuid: accounts.begin_signup(&email, from).await? }),
        None => refuse("email", "can't be blank"),
    }
}

/// The query of whatever signs in by the password.
#[derive(Deserialize)]
struct SecondFactor {
    mfa_token: Option<String>,
}

async fn login(
    State(accounts): Shared,
    Origin(from): Origin,
    headers: HeaderMap,
    Parameters(query): Parameters<SecondFactor>,
) -> Answer {
    let user = accounts.sign_in(&basic(&headers), query.mfa_token.as_deref(), from).await?;
    ok(key(accounts.mint_key(user.id).await?))
}

async fn show(SignedIn { user, key_expires_at }: SignedIn) -> Answer {
    ok(Account {
        email: user.email.to_string(),
        tier: "FREE".into(),
        credit_cents: 0,
        api_key_expires_at: Some(key_expires_at.to_string()),
    })
}

/// The query of `POST /api/api_keys/regenerate`.
#[derive(Deserialize)]
struct Regenerate {
    #[serde(default)]
    current_password: String,
}

async fn regenerate_key(
    State(accounts): Shared,
    SignedIn { user, .. }: SignedIn,
    Parameters(query): Parameters<Regenerate>,
) -> Answer {
    created(key(accounts.regenerate_key(&user, &query.current_password).await?))
}

/// The form of 2017: signed in by the password.
async fn key_2017(
    State(accounts): Shared,
    Origin(from): Origin,
    headers: HeaderMap,
    Parameters(query): Parameters<SecondFactor>,
) -> Answer {
    let user = accounts.sign_in(&basic(&headers), query.mfa_token.as_deref(), from).await?;
    created(key(accounts.replace_key(&user).await?))
}

async fn change_password(
    State(accounts): Shared,
    SignedIn { user, .. }: SignedIn,
    JsonBody(body): JsonBody<ChangePassword>,
) -> Answer {
    let Some(current) = body.current_password else { return refuse("current_password", "can't be blank") };
    accounts.change_password(&user, &current, &body.new_password).await?;
    ok(json!({ "message": "Password changed." }))
}

/// The form of 2017: signed in by the present password.
async fn change_password_2017(
    State(accounts): Shared,
    Origin(from): Origin,
    headers: HeaderMap,
    Parameters(query): Parameters<SecondFactor>,
    JsonBody(body): JsonBody<ChangePassword>,
) -> Answer {
    let tried = basic(&headers);
    let user = accounts.sign_in(&tried, query.mfa_token.as_deref(), from).await?;
    for credentials in &tried {
        match accounts.change_password(&user, &credentials.secret, &body.new_password).await {
            Err(ActionError::Invalid(why)) if why.field == "current_password" => {}
            outcome => {
                outcome?;
                return ok(json!({ "message": "Password changed." }));
            }
        }
    }
    refuse("current_password", "is incorrect")
}

async fn request_reset(State(accounts): Shared, Origin(from): Origin, JsonBody(body): JsonBody<EmailOnly>) -> Answer {
    accounts.request_reset(&body.email, from)?;
    ok(json!({ "message": "If the address has an account, a mail is on its way." }))
}

async fn reset_password(
    State(accounts): Shared,
    Origin(from): Origin,
    JsonBody(body): JsonBody<SetPassword>,
) -> Answer {
    accounts.reset_password(&body.token, &body.password, from).await?;
    ok(json!({ "message": "Password set. All API keys have ended; log in again." }))
}

async fn resend_confirmation(
    State(accounts): Shared,
    Origin(from): Origin,
    JsonBody(body): JsonBody<EmailOnly>,
) -> Answer {
    accounts.resend_confirmation(&body.email, from)?;
    ok(json!({ "message": "If the address waits for confirmation, a mail is on its way." }))
}

async fn destroy(
    State(accounts): Shared,
    SignedIn { user, .. }: SignedIn,
    JsonBody(body): JsonBody<DestroyAccount>,
) -> Answer {
    accounts.destroy(&user, &body.email, &body.current_password).await?;
    ok(json!({ "message": "Account destroyed." }))
}

async fn change_email(
    State(accounts): Shared,
    SignedIn { user, .. }: SignedIn,
    JsonBody(body): JsonBody<ChangeEmail>,
) -> Answer {
    accounts.begin_email_change(&user, &body.current_password, &body.next_email).await?;
    ok(json!({ "message": "A mail is on its way to the new address." }))
}

async fn confirm_email(State(accounts): Shared, Origin(from): Origin, JsonBody(body): JsonBody<MailedToken>) -> Answer {
    ok(json!({ "email": accounts.confirm_email_change(&body.token, from).await? }))
}

async fn revoke_email(State(accounts): Shared, Origin(from): Origin, JsonBody(body): JsonBody<MailedToken>) -> Answer {
    ok(json!({ "email": accounts.revoke_email_change(&body.token, from).await? }))
}

/// A signup of 2017 is one request without a code, so nothing would show that the address is the asker's.
async fn signup_2017() -> Answer {
    refuse("", "this platform confirms addresses by a code: sign up with today's client, `gigalixir signup`")
}

/// The query of `GET /api/validate_email`.
#[derive(Deserialize)]
struct ValidateEmail {
    #[serde(default)]
    email: String,
}

/// Whether it looks like an address; not whether it has an account. The one refusal whose `errors` are a plain list, as
/// the client of 2017 reads them.
async fn validate_email_2017(Parameters(query): Parameters<ValidateEmail>) -> Answer {
    match Email::parse(&query.email) {
        Ok(_) => ok(json!({})),
        Err(why) => {
            Ok((StatusCode::UNPROCESSABLE_ENTITY, Json(json!({ "errors": [why.to_string()] }))).into_response())
        }
    }
}

fn key(MintedKey { text, expires_at }: MintedKey) -> Key {
    Key { key: text, expires_at: expires_at.to_string() }
}

fn refuse(field: &'static str, message: &str) -> Answer {
    Err(HttpError::from(ActionError::invalid(field, message)))
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod extras_tests;
