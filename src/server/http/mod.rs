//! The HTTP door: every route of the platform's API on this page.
//!
//! A handler reads its request through the extractors of [`extract`] and [`auth`], calls one action, and wraps the
//! answer with [`answer`]. Success is `{"data": …}`, every refusal is `{"errors": {field: [message]}}` ([`error`]),
//! unknown routes and wrong methods included. There are no redirects and no compression: old clients follow the one
//! into a lost header, and a compressed log does not flow.

pub mod account;
#[cfg(test)]
mod account_tests;
pub mod answer;
mod apps;
pub mod auth;
mod config;
pub mod error;
pub mod extract;
pub mod git;
mod health;
mod logs;
pub mod origin;
mod ps;
mod releases;
mod slugs;
#[cfg(test)]
pub(crate) mod testing;
mod witness;

#[cfg(test)]
mod apps_tests;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef};
use axum::http::StatusCode;
use axum::middleware::from_fn;
use axum::routing::{get, patch, post, put};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::actions::account::Accounts;
use super::actions::apps::Apps;
use super::slugs::Slugs;
use super::store::Store;
use error::HttpError;
use origin::TrustedProxies;

/// What the handlers reach: the actions, one per noun. Each handler takes only its own through `State`.
#[derive(Clone)]
pub struct Doors {
    /// Signing up and in.
    pub accounts: Arc<Accounts>,
    /// Apps and all their parts.
    pub apps: Arc<Apps>,
    /// For signed downloads only.
    pub slugs: Arc<Slugs>,
    /// Ends the answers that would never end by themselves.
    pub shutdown: CancellationToken,
    /// For `/healthz` only.
    pub store: Store,
    /// For the rate limits.
    pub trusted_proxies: TrustedProxies,
    /// Bytes of a JSON body.
    pub body_limit: usize,
}

impl FromRef<Doors> for TrustedProxies {
    fn from_ref(doors: &Doors) -> Self {
        doors.trusted_proxies.clone()
    }
}

impl FromRef<Doors> for Arc<Accounts> {
    fn from_ref(doors: &Doors) -> Self {
        doors.accounts.clone()
    }
}

impl FromRef<Doors> for Arc<Apps> {
    fn from_ref(doors: &Doors) -> Self {
        doors.apps.clone()
    }
}

impl FromRef<Doors> for Arc<Slugs> {
    fn from_ref(doors: &Doors) -> Self {
        doors.slugs.clone()
    }
}

impl FromRef<Doors> for CancellationToken {
    fn from_ref(doors: &Doors) -> Self {
        doors.shutdown.clone()
    }
}

impl FromRef<Doors> for Store {
    fn from_ref(doors: &Doors) -> Self {
        doors.store.clone()
    }
}

/// The whole door: the API and git, ready to be served with `ConnectInfo<SocketAddr>`.
pub fn router(doors: Doors, git: git::Door) -> Router {
    Router::new().merge(api(doors)).merge(git::routes(git))
}

/// Serves `router` until `closed`; then requests under way are finished.
pub fn serve(listener: TcpListener, router: Router, closed: CancellationToken) -> JoinHandle<()> {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move {
        let served = axum::serve(listener, service).with_graceful_shutdown(closed.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(error = %error, "The API's listener failed.");
        }
    })
}

/// The API alone.
pub fn api(doors: Doors) -> Router {
    Router::new()
        .route("/healthz", get(health::check))
        .route("/api/signup", post(account::signup))
        .route("/api/login", get(account::login))
        .route("/api/users", get(account::show).patch(account::change_password_2017))
        .route("/api/users/change_password", patch(account::change_password))
        .route("/api/users/reset_password", put(account::request_reset).post(account::reset_password))
        .route("/api/users/reconfirm_email", put(account::resend_confirmation))
        .route("/api/api_keys/regenerate", post(account::regenerate_key))
        .merge(apps::routes())
        .merge(ps::routes())
        .merge(config::routes())
        .merge(releases::routes())
        .merge(logs::routes())
        .merge(slugs::routes())
        .fallback(|| async { HttpError::new(StatusCode::NOT_FOUND, "", "there is nothing at this address") })
        .method_not_allowed_fallback(|| async {
            HttpError::new(StatusCode::METHOD_NOT_ALLOWED, "", "this address does not answer to this method")
        })
        .layer(DefaultBodyLimit::max(doors.body_limit))
        .layer(from_fn(witness::witness))
        .with_state(doors)
}
