//! One request, from its head to the head of its answer.
//!
//! A backend is connected to before anything of the request is sent, so a replica that refuses costs nothing: the next
//! one is asked, and when all of this table refuse, those of the newest. A kept-alive connection that turns out to be
//! stale is replaced by a fresh one. Nothing is ever sent twice that might have had an effect: only a request that is
//! idempotent (RFC 9110 9.2.2) and has no body is repeated, and only because the connection, not the app, was at fault.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

use super::bodies::{Answer, AnswerBody, RequestBody, discard};
use super::forwarded::{self, REQUEST_ID};
use super::inflight::Lease;
use super::link::{Link, Unanswered};
use super::listen::Client;
use super::pages::{self, Page};
use super::snapshot::Target;
use super::{headers, host, tunnel};
use crate::server::domain::RouteState;

/// A request that cannot be repeated uses a kept connection only if it was in use this recently: an app that closes
/// idle connections does so later, so the two do not cross.
const SURELY_OPEN: Duration = Duration::from_millis(500);
/// How many tables a request may be tried on.
const TABLES: usize = 3;

/// Answers a request; what goes wrong is an answer too.
pub(super) async fn answer(
    client: Arc<Client>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Infallible> {
    let known = Arc::clone(&client);
    let asked = known.activity.asked();
    let multiplexed = request.version() == Version::HTTP_2;
    let id = forwarded::request_id(request.headers());
    let wants = pages::Format::wanted(request.headers());
    let answered = match resolve(&client, &request) {
        Ok(Place::InFront(response)) => {
            discard(request.into_body());
            Ok(response.map(|body| AnswerBody::page(body, Arc::clone(&client.activity))))
        }
        Ok(Place::App(found)) => proxy(&client, request, found, &id).await,
        Err(page) => {
            // A client that waits for leave to send shall not get it; any other is sending already.
            if !request.headers().contains_key(EXPECT) {
                discard(request.into_body());
            }
            Err(page)
        }
    };
    let mut response = answered.unwrap_or_else(|page| {
        page.render(wants, &id).map(|body| AnswerBody::page(body, Arc::clone(&client.activity)))
    });
    response.headers_mut().insert(REQUEST_ID, id);
    if client.peer.is_over_tls() {
        client.shared.harden(response.headers_mut());
    }
    if !multiplexed && client.closing.load(Relaxed) && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    asked.hand_over();
    Ok(response)
}

/// Who answers a request.
enum Place {
    /// Nobody needs to be asked.
    InFront(Response<Bytes>),
    App(Found),
}

/// Where a request goes.
struct Found {
    target: Arc<Target>,
    /// As the table knows it.
    host: String,
    port: Option<String>,
    /// As the app shall see it.
    header: HeaderValue,
}

fn resolve(client: &Client, request: &Request<Incoming>) -> Result<Place, Page> {
    if request.method() == Method::CONNECT {
        return Err(Page::BadRequest("This is not a forward proxy."));
    }
    let asked = host::target(request.uri(), request.headers()).map_err(Page::BadRequest)?;
    if let Some(response) = client.shared.in_front(request, &asked.host, &client.peer) {
        return Ok(Place::InFront(response));
    }
    let unknown = || match client.peer.is_over_tls() && client.shared.is_misdirected(&asked.host) {
        true => Page::Misdirected,
        false => Page::NoSuchApp,
    };
    let target = client.shared.published.next_target(&asked.host).ok_or_else(unknown)?;
    ready(&target)?;
    let header = match request.uri().authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => request.headers().get(HOST).cloned(),
    };
    let header = header.ok_or(Page::BadRequest("The request does not say which host it is for."))?;
    let (host, port) = (asked.host.into_owned(), asked.port.map(str::to_owned));
    Ok(Place::App(Found { target, host, port, header }))
}

async fn proxy(
    client: &Arc<Client>,
    mut request: Request<Incoming>,
    found: Found,
    id: &HeaderValue,
) -> Result<Response<AnswerBody>, Page> {
    let protocol = if request.version() == Version::HTTP_11 { headers::upgrade(request.headers()) } else { None };
    let client_side = protocol.is_some().then(|| hyper::upgrade::on(&mut request));
    let (mut head, incoming) = request.into_parts();
    headers::strip_request(&mut head.headers);
    if head.version == Version::HTTP_2 {
        headers::join_cookies(&mut head.headers);
    }
    client.peer.tell(&mut head.headers, &found.header, found.port.as_deref(), id);
    head.headers.insert(HOST, found.header);
    head.version = Version::HTTP_11;
    if head.uri.authority().is_some() {
        head.uri = Uri::from(head.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")));
    }
    let (body, over) = RequestBody::new(incoming);
    if !body.is_empty() && !head.headers.contains_key(CONTENT_LENGTH) {
        // Said for methods that usually have no body too, where hyper would take the body for absent.
        head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if let Some(protocol) = protocol {
        head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        head.headers.insert(UPGRADE, protocol);
    }
    let taken = forward(client, Request::from_parts(head, body), found.target, &found.host).await?;
    if taken.response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return switch(client, client_side, taken);
    }
    let (mut head, incoming) = taken.response.into_parts();
    headers::strip_response(&mut head.headers);
    head.version = Version::HTTP_11;
    let sent = over.is_none_or(|over| over.load(Acquire));
    let keep = client.shared.config.backend_idle_connections;
    let answer = Answer::new(incoming, taken.link, taken.lease, sent, keep).await;
    Ok(Response::from_parts(head, AnswerBody::backend(answer, Arc::clone(&client.activity))))
}

fn ready(target: &Target) -> Result<(), Page> {
    match target.state() {
        RouteState::Serving(_) => Ok(()),
        RouteState::Maintenance => Err(Page::Maintenance),
        RouteState::NothingDeployed => Err(Page::NothingDeployed),
        RouteState::ScaledToZero => Err(Page::ScaledToZero),
        RouteState::Failing => Err(Page::Failing),
    }
}

/// A backend's answer, its body still to come.
struct Taken {
    response: Response<Incoming>,
    link: Link,
    lease: Lease,
}

async fn forward(
    client: &Client,
    mut request: Request<RequestBody>,
    mut target: Arc<Target>,
    name: &str,
) -> Result<Taken, Page> {
    for _ in 0..TABLES {
        let mut tried = Vec::new();
        while let Some((index, lease)) = target.pick(&tried) {
            match attempt(client, &lease, request).await {
                Ok((response, link)) => return Ok(Taken { response, link, lease }),
                Err(Attempt::Refused(unsent)) => request = *unsent,
                Err(Attempt::Failed(page)) => {
                    tracing::info!(app.name = %target.app(), backend = lease.name(), ?page, "a backend did not answer");
                    return Err(page);
                }
            }
            tracing::info!(app.name = %target.app(), backend = lease.name(), "a backend refused a connection");
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
) -> Result<(Response<Incoming>, Link), Attempt> {
    let config = &client.shared.config;
    let repeatable = request.method().is_idempotent() && request.body().is_empty();
    let limit = if repeatable { config.backend_idle_timeout } else { SURELY_OPEN.min(config.backend_idle_timeout) };
    while let Some(mut link) = lease.take_idle(limit).await {
        let spare = repeatable.then(|| again(&request));
        match send(&mut link, request, config.response_timeout).await {
            Ok(response) => return Ok((response, link)),
            Err(Failed::TimedOut) => return Err(Attempt::Failed(Page::TimedOut)),
            Err(Failed::Unanswered(failed)) => match (failed.unsent, spare) {
                (Some(unsent), _) => request = *unsent,
                (None, Some(spare)) if !failed.error.is_parse() => request = spare,
                (None, _) => return Err(Attempt::Failed(blame(&failed.error))),
            },
        }
    }
    let mut link = match Link::dial(lease.address(), config.connect_timeout).await {
        Ok(link) => link,
        Err(_) => return Err(Attempt::Refused(Box::new(request))),
    };
    match send(&mut link, request, config.response_timeout).await {
        Ok(response) => Ok((response, link)),
        Err(Failed::TimedOut) => Err(Attempt::Failed(Page::TimedOut)),
        Err(Failed::Unanswered(Unanswered { unsent: Some(unsent), .. })) => Err(Attempt::Refused(unsent)),
        Err(Failed::Unanswered(failed)) => Err(Attempt::Failed(blame(&failed.error))),
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

/// Whose fault a missing answer is: a broken request body is the client's.
fn blame(error: &hyper::Error) -> Page {
    if error.is_user() { Page::BadRequest("The request's body is malformed.") } else { Page::NoAnswer }
}

/// The same request once more; it has no body.
fn again(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}

/// The backend changes protocols: the rest of both connections is a tunnel.
fn switch(client: &Arc<Client>, client_side: Option<OnUpgrade>, taken: Taken) -> Result<Response<AnswerBody>, Page> {
    let Taken { response, link, lease } = taken;
    let Some(client_side) = client_side else { return Err(Page::NoAnswer) };
    let protocol = response.headers().get(UPGRADE).cloned().ok_or(Page::NoAnswer)?;
    let kept = Arc::clone(client);
    client.shared.tasks.spawn(async move {
        let idle = kept.shared.config.tunnel_idle_timeout;
        let ended = tokio::select! {
            ended = tunnel::run(client_side, link, idle) => ended,
            () = kept.shared.abort.cancelled() => Ok(()),
        };
        if let Err(error) = ended {
            tracing::debug!(backend = lease.name(), %error, "a tunnel ended early");
        }
        drop(lease);
    });
    let (mut head, _) = response.into_parts();
    headers::strip_response(&mut head.headers);
    head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    head.headers.insert(UPGRADE, protocol);
    Ok(Response::from_parts(head, AnswerBody::page(Bytes::new(), Arc::clone(&client.activity))))
}
