//! From a request to a replica's answer.
//!
//! A backend is connected to before anything of the request is sent, so a replica that refuses costs nothing: the next
//! one is asked, and when all of this table refuse, those of the newest. A kept-alive connection that turns out to be
//! stale is replaced by a fresh one. Nothing is ever sent twice that might have had an effect: only a request that is
//! idempotent (RFC 9110 9.2.2) and has no body is repeated, and only because the connection, not the app, was at fault.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;

use super::affinity::Tag;
use super::bodies::RequestBody;
use super::inflight::Lease;
use super::link::{Link, Unanswered};
use super::listen::Client;
use super::pages::Page;
use super::snapshot::Target;
use super::traffic::Visit;
use crate::server::domain::RouteState;

/// A request that cannot be repeated uses a kept connection only if it was in use this recently: an app that closes
/// idle connections does so later, so the two do not cross.
const SURELY_OPEN: Duration = Duration::from_millis(500);
/// How many tables a request may be tried on.
const TABLES: usize = 3;

/// Whether the app serves at all, or the page that says why not.
pub(super) fn ready(target: &Target) -> Result<(), Page> {
    match target.state() {
        RouteState::Serving(_) => Ok(()),
        RouteState::Maintenance => Err(Page::Maintenance),
        RouteState::NothingDeployed => Err(Page::NothingDeployed),
        RouteState::ScaledToZero => Err(Page::ScaledToZero),
        RouteState::Failing => Err(Page::Failing),
    }
}

/// A backend's answer, its body still to come.
pub(super) struct Taken {
    pub(super) response: Response<Incoming>,
    pub(super) link: Link,
    pub(super) lease: Lease,
}

/// Sends a request to one of the app's replicas: to the one that is wanted, if it is there, else to whoever has least to do.
pub(super) async fn forward(
    client: &Client,
    mut request: Request<RequestBody>,
    mut target: Arc<Target>,
    name: &str,
    mut wanted: Option<Tag>,
    visit: Option<&Visit>,
) -> Result<Taken, Page> {
    let retried = || visit.iter().for_each(|visit| visit.tally().retried());
    for _ in 0..TABLES {
        let mut tried = Vec::new();
        let again = |tag: Tag| target.again(tag);
        while let Some((index, lease)) = wanted.take().and_then(again).or_else(|| target.pick(&tried)) {
            match attempt(client, &lease, request, &retried).await {
                Ok((response, link)) => return Ok(Taken { response, link, lease }),
                Err(Attempt::Refused(unsent)) => request = *unsent,
                Err(Attempt::Failed(page)) => {
                    // A broken request body is the client's fault.
                    let page = visit.and_then(Visit::fault).unwrap_or(page);
                    tracing::info!(app.name = %target.app(), backend = lease.name(), ?page, "a backend did not answer");
                    return Err(page);
                }
            }
            tracing::info!(app.name = %target.app(), backend = lease.name(), "a backend refused a connection");
            retried();
            tried.push(index);
        }
        let newest = client.shared.published.target(name).ok_or(Page::NoSuchApp)?;
        ready(&newest)?;
        if Arc::ptr_eq(&newest, &target) {
            break;
        }
        target = newest;
    }
    Err(Page::Unreachable)
}

enum Attempt {
    /// Nothing was sent.
    Refused(Box<Request<RequestBody>>),
    Failed(Page),
}

/// Sends a request to one backend: over a kept connection if there is one, else over a new one.
async fn attempt(
    client: &Client,
    lease: &Lease,
    mut request: Request<RequestBody>,
    retried: &(impl Fn() + Sync),
) -> Result<(Response<Incoming>, Link), Attempt> {
    let config = &client.shared.config;
    let repeatable = request.method().is_idempotent() && request.body().is_empty();
    let limit = if repeatable { config.backend_idle_timeout } else { SURELY_OPEN.min(config.backend_idle_timeout) };
    while let Some(mut link) = lease.take_idle(request.version(), limit).await {
        let spare = repeatable.then(|| again(&request));
        match send(&mut link, request, config.response_timeout).await {
            Ok(response) => return Ok((response, link)),
            Err(Failed::TimedOut) => return Err(Attempt::Failed(Page::TimedOut)),
            Err(Failed::Unanswered(failed)) => match (failed.unsent, spare) {
                (Some(unsent), _) => request = *unsent,
                (None, Some(spare)) if !failed.error.is_parse() => {
                    retried();
                    request = spare;
                }
                (None, _) => return Err(Attempt::Failed(Page::NoAnswer)),
            },
        }
    }
    let mut link = match Link::dial(lease.address(), request.version(), config.connect_timeout).await {
        Ok(link) => link,
        Err(_) => return Err(Attempt::Refused(Box::new(request))),
    };
    match send(&mut link, request, config.response_timeout).await {
        Ok(response) => Ok((response, link)),
        Err(Failed::TimedOut) => Err(Attempt::Failed(Page::TimedOut)),
        Err(Failed::Unanswered(Unanswered { unsent: Some(unsent), .. })) => Err(Attempt::Refused(unsent)),
        Err(Failed::Unanswered(_)) => Err(Attempt::Failed(Page::NoAnswer)),
    }
}

enum Failed {
    TimedOut,
    Unanswered(Unanswered),
}

async fn send(
    link: &mut Link,
    request: Request<RequestBody>,
    limit: Option<Duration>,
) -> Result<Response<Incoming>, Failed> {
    let sending = link.send(request);
    match limit {
        None => sending.await,
        Some(limit) => tokio::time::timeout(limit, sending).await.map_err(|_| Failed::TimedOut)?,
    }
    .map_err(Failed::Unanswered)
}

/// The same request once more; it has no body.
fn again(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    copy
}
