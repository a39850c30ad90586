//! The door of a web console: `/frontend/api/…`, as the original's console of 2020 knocks. Behind it are the same apps with
//! the same handlers; what differs is the lock, a cookie instead of a key ([`lock`]), and some words about accounts.
//!
//! Deliberately absent: WebSockets, invoices as PDF files, and this door in the API's description.

mod lock;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use self::lock::Cookie;
use super::answer::{Answer, Success, ok};
use super::auth::{SignedIn, basic};
use super::error::HttpError;
use super::extract::JsonBody;
use super::origin::Origin;
use super::routes::{Routes, Sheet, Told};
use super::{Doors, account, ps};
use crate::api::Message;
use crate::server::actions::account::{Accounts, Credentials};
use crate::server::actions::apps::Apps;
use crate::server::actions::sessions::Session;
use crate::server::domain::User;

/// The door. `shared` are the API's own routes that a console asks for as they are.
pub(super) fn router(shared: Router<Doors>, doors: &Doors) -> Router<Doors> {
    let lock = from_fn_with_state(doors.accounts.clone(), lock::unlock);
    routes().into_router().nest("/frontend", shared).layer(lock)
}

fn routes() -> Routes<Doors> {
    Routes::new()
        .get("/frontend/api/csrf", csrf, "gives the browser's token")
        .get("/frontend/api/sessions", who, "tells who one is")
        .post("/frontend/api/sessions", sign_in, "signs in with the password")
        .delete("/frontend/api/sessions", sign_out, "signs out")
        .get("/frontend/api/users", account::show, "describes the account")
        .post("/frontend/api/users", account::signup_2017, "signs up: a mailed link confirms")
        .post("/frontend/api/users/reconfirm_email", account::resend_confirmation, "mails a signup's code again")
        .post("/frontend/api/users/reset_password", account::request_reset, "mails a token for a new password")
        .post("/frontend/api/users/set_password", account::reset_password, "sets a new password, for that token")
        .post("/frontend/api/apps/{app}/scale", ps::scale, "changes counts and size")
        .get("/frontend/api/invoices/pdfs", invoices, "tells what was used in past periods")
}

/// `{"data": T}`, and a cookie.
struct WithCookie<T>((HeaderName, String), Success<T>);

impl<T: Serialize> IntoResponse for WithCookie<T> {
    fn into_response(self) -> Response {
        ([self.0], self.1).into_response()
    }
}

impl<T: ToSchema> Told for WithCookie<T> {
    fn describe(sheet: &mut Sheet) {
        Success::<T>::describe(sheet);
    }
}

/// `GET /frontend/api/sessions`, and the answer to `POST`.
#[derive(Serialize, ToSchema)]
struct Visitor {
    tier: &'static str,
    email: String,
    /// The visit's own key.
    api_key: String,
}

impl Visitor {
    fn new(user: &User, api_key: String) -> Self {
        Self { tier: user.tier.as_str(), email: user.email.to_string(), api_key }
    }
}

/// `POST /frontend/api/sessions`.
#[derive(Deserialize, ToSchema)]
struct SignIn {
    session: Password,
}

#[derive(Deserialize, ToSchema)]
struct Password {
    email: String,
    password: String,
    /// Ours: of an authenticator app, where the account asks for it.
    #[serde(default)]
    mfa_token: Option<String>,
}

/// An entry of `GET /frontend/api/invoices/pdfs`.
#[derive(Serialize, ToSchema)]
struct Pdf {
    period_start: String,
    period_end: String,
    amount_cents: i64,
    /// There is none: nobody is charged, so nobody needs a paper of it.
    pdf: Option<String>,
}

async fn csrf(State(accounts): State<Arc<Accounts>>, headers: HeaderMap) -> Result<WithCookie<String>, HttpError> {
    let secure = accounts.secure();
    let seed = Cookie::Seed.brought(&headers, secure).unwrap_or_else(lock::new_seed);
    Ok(WithCookie(Cookie::Seed.given(&seed, secure), ok(lock::token(&seed))?))
}

async fn who(SignedIn { user, .. }: SignedIn, headers: HeaderMap) -> Answer<Visitor> {
    ok(Visitor::new(&user, key(&headers)))
}

async fn sign_in(
    State(accounts): State<Arc<Accounts>>,
    Origin(from): Origin,
    JsonBody(SignIn { session }): JsonBody<SignIn>,
) -> Result<WithCookie<Visitor>, HttpError> {
    let tried = Credentials { email: session.email, secret: session.password };
    let Session { user, key, cookie } = accounts.begin_session(tried, session.mfa_token.as_deref(), from).await?;
    Ok(WithCookie(Cookie::Session.given(&cookie, accounts.secure()), ok(Visitor::new(&user, key.text))?))
}

async fn sign_out(
    State(accounts): State<Arc<Accounts>>,
    SignedIn { user, .. }: SignedIn,
    headers: HeaderMap,
) -> Result<WithCookie<Message>, HttpError> {
    accounts.end_session(&user, &key(&headers)).await?;
    Ok(WithCookie(Cookie::Session.taken(accounts.secure()), ok(Message::new("Signed out."))?))
}

/// The key that the lock found in the cookie.
fn key(headers: &HeaderMap) -> String {
    basic(headers).into_iter().next().map(|found| found.secret).unwrap_or_default()
}

async fn invoices(State(apps): State<Arc<Apps>>, SignedIn { user, .. }: SignedIn) -> Answer<Vec<Pdf>> {
    let invoices = apps.invoices(&user).await?.into_iter();
    ok(invoices
        .map(|one| Pdf {
            period_start: one.period_start,
            period_end: one.period_end,
            amount_cents: one.amount_cents,
            pdf: None,
        })
        .collect())
}
