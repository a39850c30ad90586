//! The HTTP door: every route of the platform's API on this page.
//!
//! A handler reads its request through the extractors of [`extract`] and [`auth`], calls one action, and wraps the
//! answer with [`answer`]. Success is `{"data": …}`, every refusal is `{"errors": {field: [message]}}` ([`error`]),
//! unknown routes and wrong methods included. There are no redirects and no compression: old clients follow the one
//! into a lost header, and a compressed log does not flow.

mod access;
pub mod account;
mod activity;
pub mod answer;
mod apps;
pub mod auth;
mod builds;
mod canaries;
mod certs;
mod config;
mod console;
mod domains;
mod drains;
pub mod error;
pub mod extract;
pub mod git;
mod health;
mod inside;
mod jobs;
mod line;
mod logs;
mod maintenance;
mod metrics;
mod mfa;
mod nodes;
mod not_offered;
mod observer;
pub mod origin;
mod payments;
mod ps;
mod releases;
mod replica;
mod router;
pub mod routes;
mod schedules;
mod serve;
mod slugs;
mod ssh;
mod ssh_keys;
mod stacks;
#[cfg(test)]
pub(crate) mod testing;
mod usage;
mod visit;
mod witness;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef};
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use tokio_util::sync::CancellationToken;

use super::actions::account::Accounts;
use super::actions::apps::Apps;
use super::parcels::Parcels;
use super::router::Traffic;
use super::slugs::Slugs;
use super::store::Store;
use super::tls::Tls;
pub use certs::CA_FILE;
use error::HttpError;
use origin::TrustedProxies;
use routes::Routes;
pub use serve::{serve, serve_secured};

/// A door that is ready to be served.
pub type Ready = Router;

/// What the handlers reach: the actions, one per noun. Each handler takes only its own through `State`.
#[derive(Clone)]
pub struct Doors {
    /// Signing up and in.
    pub accounts: Arc<Accounts>,
    /// Apps and all their parts.
    pub apps: Arc<Apps>,
    /// For signed downloads only.
    pub slugs: Arc<Slugs>,
    /// What builds on other machines fetch and hand in.
    pub parcels: Arc<Parcels>,
    /// Ends the answers that would never end by themselves.
    pub shutdown: CancellationToken,
    /// For `/healthz` only.
    pub store: Store,
    /// For the rate limits.
    pub trusted_proxies: TrustedProxies,
    /// Certificates.
    pub tls: Tls,
    /// What passes to the apps, in numbers.
    pub traffic: Traffic,
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

impl FromRef<Doors> for Arc<Parcels> {
    fn from_ref(doors: &Doors) -> Self {
        doors.parcels.clone()
    }
}

impl FromRef<Doors> for Tls {
    fn from_ref(doors: &Doors) -> Self {
        doors.tls.clone()
    }
}

impl FromRef<Doors> for Traffic {
    fn from_ref(doors: &Doors) -> Self {
        doors.traffic.clone()
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

/// The whole door, API and git, ready for [`serve`].
pub fn door(doors: Doors, git: git::Door) -> Router {
    let body_limit = doors.body_limit;
    let routes = routes().into_router().merge(console::router(shared().into_router(), &doors)).merge(git::routes(git));
    dressed(routes, &doors, body_limit).with_state(doors)
}

/// The API alone.
pub fn api(doors: Doors) -> Router {
    let body_limit = doors.body_limit;
    let routes = routes().into_router().merge(console::router(shared().into_router(), &doors));
    dressed(routes, &doors, body_limit).with_state(doors)
}

fn routes() -> Routes<Doors> {
    shared()
        .get("/healthz", health::check, "tells whether the server can read its database")
        .merge(metrics::routes())
        .merge(account::routes())
        .merge(ssh_keys::routes())
        .merge(inside::routes())
        .merge(mfa::routes())
        .merge(replica::routes())
        .merge(not_offered::routes())
        .merge(slugs::routes())
        .merge(builds::routes())
        .with_document()
}

/// What programs with a key ask for and a web console with a cookie alike: apps and all their parts.
fn shared() -> Routes<Doors> {
    Routes::new()
        .merge(payments::routes())
        .merge(ssh::routes())
        .merge(apps::routes())
        .merge(nodes::routes())
        .merge(stacks::routes())
        .merge(ps::routes())
        .merge(observer::routes())
        .merge(config::routes())
        .merge(releases::routes())
        .merge(logs::routes())
        .merge(jobs::routes())
        .merge(schedules::routes())
        .merge(domains::routes())
        .merge(drains::routes())
        .merge(certs::routes())
        .merge(canaries::routes())
        .merge(maintenance::routes())
        .merge(router::routes())
        .merge(access::routes())
        .merge(activity::routes())
        .merge(usage::routes())
}

/// What holds for every route: the envelope where no handler answers, bounds on the body and on how often somebody
/// asks, an id, a witness.
fn dressed<S>(routes: Router<S>, state: &S, body_limit: usize) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Arc<Accounts>: FromRef<S>,
    TrustedProxies: FromRef<S>,
{
    routes
        .fallback(|| async { HttpError::new(StatusCode::NOT_FOUND, "", "there is nothing at this address") })
        .method_not_allowed_fallback(|| async {
            HttpError::new(StatusCode::METHOD_NOT_ALLOWED, "", "this address does not answer to this method")
        })
        .layer(DefaultBodyLimit::max(body_limit))
        .layer(from_fn_with_state(state.clone(), origin::admitted))
        .layer(from_fn(witness::witness))
}
