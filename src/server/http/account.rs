//! `/api/signup`, `/api/login`, `/api/users…`, `/api/api_keys…`.
//!
//! Signing in and up, and resets, are for strangers: those handlers do not look at a key, so a stale one in somebody's
//! netrc does not stand in the way.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{FromRef, State};
use serde::Deserialize;
use utoipa::IntoParams;

use super::answer::{Answer, Either, Page, PlainList, Success, created, ok};
use super::auth::{SignedIn, Tried};
use super::error::HttpError;
use super::extract::{JsonBody, Parameters, Segments};
use super::origin::{Origin, TrustedProxies};
use super::routes::Routes;
use crate::api::Message;
use crate::api::account::{
    Account, ChangeEmail, ChangePassword, DestroyAccount, EmailOnly, Key, MailedToken, SetPassword, SignUpAtOnce,
    SignedUp, SignupAnswer, SignupSession, SignupStep,
};
use crate::server::actions::ActionError;
use crate::server::actions::account::{Accounts, MintedKey};
use crate::server::domain::Email;

type Shared = State<Arc<Accounts>>;

pub(super) fn routes<S>() -> Routes<S>
where
    S: Clone + Send + Sync + 'static,
    Arc<Accounts>: FromRef<S>,
    TrustedProxies: FromRef<S>,
{
    Routes::new()
        .post("/api/signup", signup, "takes the next step of a signup")
        .get("/api/login", login, "gives a new API key for the password")
        .get("/api/users", show, "tells who one is")
        .post("/api/users", signup_2017, "signs up, as clients of 2017 do: a mailed link confirms")
        .post("/api/free_users", signup_2017, "signs up, as clients of 2017 do: a mailed link confirms")
        .get("/api/users/confirm/{id}/{code}", confirmation_page, "shows the button that confirms such a signup")
        .post("/api/users/confirm/{id}/{code}", confirm_2017, "confirms such a signup")
        .patch("/api/users", change_password_2017, "changes the password, as clients of 2017 do")
        .delete("/api/users/destroy", destroy, "ends the account and its apps")
        .post("/api/users/email", change_email, "mails a token to a new address")
        .post("/api/users/email/confirm", confirm_email, "changes the address, for that token")
        .post("/api/users/email/revoke", revoke_email, "changes it back, for the token mailed to the old address")
        .get("/api/validate_email", validate_email_2017, "tells whether something looks like an address")
        .patch("/api/users/change_password", change_password, "changes the password")
        .put("/api/users/reset_password", request_reset, "mails a token for a new password")
        .post("/api/users/reset_password", reset_password, "sets a new password, for that token")
        .put("/api/users/reconfirm_email", resend_confirmation, "mails a signup's code again")
        .post("/api/api_keys", key_2017, "replaces all API keys, as clients of 2017 do")
        .post("/api/api_keys/regenerate", regenerate_key, "replaces all API keys")
}

/// The step is told by which field is there; a later step's field goes first.
async fn signup(
    State(accounts): Shared,
    Origin(from): Origin,
    JsonBody(step): JsonBody<SignupStep>,
) -> Answer<SignupAnswer> {
    let uuid = step.uuid.unwrap_or_default();
    if step.oauth.is_some() {
        return refuse("", "this platform does not sign in with Google: sign up with an e-mail address");
    }
    if let Some(tier) = step.tier {
        let (user, key) = accounts.finish_signup(&uuid, &tier, from).await?;
        return ok(SignupAnswer::Done(SignedUp { email: user.email.to_string(), key: key.text }));
    }
    if let Some(token) = step.stripe_token {
        accounts.choose_payment(&uuid, &token, from).await?;
        return ok(SignupAnswer::Next(SignupSession { uuid }));
    }
    if step.promo_code.is_some() {
        return refuse("promo_code", "is not known: this platform sells nothing");
    }
    if let Some(password) = step.password {
        accounts.choose_password(&uuid, &password, from).await?;
        return ok(SignupAnswer::Next(SignupSession { uuid }));
    }
    if let Some(code) = step.confirmation_code {
        accounts.confirm_signup(&uuid, &code, from).await?;
        return ok(SignupAnswer::Next(SignupSession { uuid }));
    }
    match step.email {
        Some(email) => ok(SignupAnswer::Next(SignupSession { uuid: accounts.begin_signup(&email, from).await? })),
        None => refuse("email", "can't be blank"),
    }
}

/// The query of whatever signs in by the password.
#[derive(Deserialize, IntoParams)]
struct SecondFactor {
    mfa_token: Option<String>,
}

async fn login(
    State(accounts): Shared,
    Origin(from): Origin,
    Tried(tried): Tried,
    Parameters(query): Parameters<SecondFactor>,
) -> Answer<Key> {
    let user = accounts.sign_in(&tried, query.mfa_token.as_deref(), from).await?;
    ok(key(accounts.mint_key(user.id).await?))
}

pub(super) async fn show(SignedIn { user, key }: SignedIn) -> Answer<Account> {
    ok(Account {
        email: user.email.to_string(),
        tier: user.tier.as_str().into(),
        credit_cents: 0,
        api_key_expires_at: Some(key.expires_at.to_string()),
    })
}

/// The query of `POST /api/api_keys/regenerate`.
#[derive(Deserialize, IntoParams)]
struct Regenerate {
    #[serde(default)]
    current_password: String,
}

async fn regenerate_key(
    State(accounts): Shared,
    SignedIn { user, .. }: SignedIn,
    Parameters(query): Parameters<Regenerate>,
) -> Answer<Key, 201> {
    created(key(accounts.regenerate_key(&user, &query.current_password).await?))
}

/// The form of 2017: signed in by the password.
async fn key_2017(
    State(accounts): Shared,
    Origin(from): Origin,
    Tried(tried): Tried,
    Parameters(query): Parameters<SecondFactor>,
) -> Answer<Key, 201> {
    let user = accounts.sign_in(&tried, query.mfa_token.as_deref(), from).await?;
    created(key(accounts.replace_key(&user).await?))
}

async fn change_password(
    State(accounts): Shared,
    SignedIn { user, .. }: SignedIn,
    JsonBody(body): JsonBody<ChangePassword>,
) -> Answer<Message> {
    let Some(current) = body.current_password else { return refuse("current_password", "can't be blank") };
    accounts.change_password(&user, &current, &body.new_password).await?;
    ok(Message::new("Password changed."))
}

/// The form of 2017: signed in by the present password.
async fn change_password_2017(
    State(accounts): Shared,
    Origin(from): Origin,
    Tried(tried): Tried,
    Parameters(query): Parameters<SecondFactor>,
    JsonBody(body): JsonBody<ChangePassword>,
) -> Answer<Message> {
    let user = accounts.sign_in(&tried, query.mfa_token.as_deref(), from).await?;
    for credentials in &tried {
        match accounts.change_password(&user, &credentials.secret, &body.new_password).await {
            Err(ActionError::Invalid(why)) if why.field == "current_password" => {}
            outcome => {
                outcome?;
                return ok(Message::new("Password changed."));
            }
        }
    }
    refuse("current_password", "is incorrect")
}

pub(super) async fn request_reset(
    State(accounts): Shared,
    Origin(from): Origin,
    JsonBody(body): JsonBody<EmailOnly>,
) -> Answer<Message> {
    accounts.request_reset(&body.email, from)?;
    ok(Message::new("If the address has an account, a mail is on its way."))
}

pub(super) async fn reset_password(
    State(accounts): Shared,
    Origin(from): Origin,
    JsonBody(body): JsonBody<SetPassword>,
) -> Answer<Message> {
    accounts.reset_password(&body.token, &body.password, from).await?;
    ok(Message::new("Password set. All API keys have ended; log in again."))
}

pub(super) async fn resend_confirmation(
    State(accounts): Shared,
    Origin(from): Origin,
    JsonBody(body): JsonBody<EmailOnly>,
) -> Answer<Message> {
    accounts.resend_confirmation(&body.email, from)?;
    ok(Message::new("If the address waits for confirmation, a mail is on its way."))
}

async fn destroy(
    State(accounts): Shared,
    SignedIn { user, .. }: SignedIn,
    JsonBody(body): JsonBody<DestroyAccount>,
) -> Answer<Message> {
    accounts.destroy(&user, &body.email, &body.current_password).await?;
    ok(Message::new("Account destroyed."))
}

async fn change_email(
    State(accounts): Shared,
    SignedIn { user, .. }: SignedIn,
    JsonBody(body): JsonBody<ChangeEmail>,
) -> Answer<Message> {
    accounts.begin_email_change(&user, &body.current_password, &body.next_email).await?;
    ok(Message::new("A mail is on its way to the new address."))
}

async fn confirm_email(
    State(accounts): Shared,
    Origin(from): Origin,
    JsonBody(body): JsonBody<MailedToken>,
) -> Answer<EmailOnly> {
    ok(EmailOnly { email: accounts.confirm_email_change(&body.token, from).await? })
}

async fn revoke_email(
    State(accounts): Shared,
    Origin(from): Origin,
    JsonBody(body): JsonBody<MailedToken>,
) -> Answer<EmailOnly> {
    ok(EmailOnly { email: accounts.revoke_email_change(&body.token, from).await? })
}

/// A signup of 2017 is one request. A payment token that comes with it is kept where use has a price.
pub(super) async fn signup_2017(
    State(accounts): Shared,
    Origin(from): Origin,
    JsonBody(wish): JsonBody<SignUpAtOnce>,
) -> Answer<Message> {
    accounts.sign_up_at_once(&wish.email, &wish.password, wish.stripe_token.as_deref(), from).await?;
    ok(Message::new("A mail is on its way: confirm your address, then log in."))
}

/// Looking at a page changes nothing: programs that read mail for people follow links.
async fn confirmation_page() -> Result<Page, HttpError> {
    Ok(Page("<!doctype html><title>Confirm</title><form method=post><button>Confirm my address</button></form>"))
}

async fn confirm_2017(
    State(accounts): Shared,
    Origin(from): Origin,
    Segments((uuid, code)): Segments<(String, String)>,
) -> Answer<Message> {
    accounts.confirm_at_once(&uuid, &code, from).await?;
    ok(Message::new("Your address is confirmed. Now log in: gigalixir login"))
}

/// The query of `GET /api/validate_email`.
#[derive(Deserialize, IntoParams)]
struct ValidateEmail {
    #[serde(default)]
    email: String,
}

/// Whether it looks like an address; not whether it has an account. The one refusal whose `errors` are a plain list, as
/// the client of 2017 reads them.
async fn validate_email_2017(
    Parameters(query): Parameters<ValidateEmail>,
) -> Result<Either<Success<BTreeMap<String, String>>, PlainList>, HttpError> {
    match Email::parse(&query.email) {
        Ok(_) => ok(BTreeMap::new()).map(Either::This),
        Err(why) => Ok(Either::That(PlainList(why.to_string()))),
    }
}

fn key(MintedKey { text, expires_at }: MintedKey) -> Key {
    Key { key: text, expires_at: expires_at.to_string() }
}

fn refuse<T>(field: &'static str, message: &str) -> Answer<T> {
    Err(HttpError::from(ActionError::invalid(field, message)))
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod extras_tests;
