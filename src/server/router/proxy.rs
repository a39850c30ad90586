//! One request, from its head to the head of its answer: who answers it, what the app's people allow, and what the app is
//! told. Getting an answer out of a replica is [`forward`]'s.

use std::convert::Infallible;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, SET_COOKIE, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::{Body as _, Incoming};

use super::affinity::Tag;
use super::bodies::{Answer, AnswerBody, Bounds, RequestBody, discard};
use super::forward::{forward, ready};
use super::forwarded::{self, REQUEST_ID};
use super::journal::Note;
use super::listen::Client;
use super::pages::{self, Page};
use super::snapshot::Target;
use super::switch::{self, Switch};
use super::traffic::Visit;
use super::{headers, host, portal};

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
    let place = resolve(&client, &request);
    let mut visit = Some(visit(&client, &request, &place, &id));
    // The page that an app has for itself outlives the request.
    let found = if let Ok(Place::App(found)) = &place { Some(Arc::clone(&found.target)) } else { None };
    let answered = match place {
        Ok(Place::InFront(response)) => {
            discard(request.into_body());
            Ok(response.map(|body| AnswerBody::page(body, Arc::clone(&client.activity))))
        }
        Ok(Place::App(found)) => match admitted(&client, &request, &found, visit.as_ref()) {
            Ok(None) => proxy(&client, request, found, &id, &mut visit).await,
            Ok(Some(elsewhere)) => {
                discard(request.into_body());
                Ok(elsewhere.map(|body| AnswerBody::page(body, Arc::clone(&client.activity))))
            }
            Err(page) => Err(refuse(request, page)),
        },
        Err(page) => Err(refuse(request, page)),
    };
    let mut response = answered.unwrap_or_else(|page| {
        let own = found.as_ref().and_then(|target| target.rules().maintenance_page.as_deref());
        let page = match own.filter(|_| page == Page::Maintenance && wants == pages::Format::Html) {
            Some(html) => pages::own(html),
            None => page.render(wants, &id),
        };
        page.map(|body| AnswerBody::page(body, Arc::clone(&client.activity)))
    });
    if let Some(visit) = &mut visit {
        visit.answered(response.status().as_u16());
    }
    response.body_mut().ends(visit);
    response.headers_mut().insert(REQUEST_ID, id);
    if client.peer.is_over_tls() {
        client.shared.harden(response.headers_mut());
    }
    if multiplexed {
        // A hop's own header, which HTTP/2 has not.
        response.headers_mut().remove(CONNECTION);
    } else if client.closing.load(Relaxed) && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    asked.hand_over();
    Ok(response)
}

/// Begins to count.
fn visit(client: &Client, request: &Request<Incoming>, place: &Result<Place, Page>, id: &HeaderValue) -> Visit {
    let Ok(Place::App(found)) = place else { return Visit::stray(Arc::clone(client.shared.published.strays())) };
    let mut visit = Visit::of(&found.target);
    if found.target.rules().access_log {
        visit.note = Note::begin(client, found.target.app(), request, &found.host, id);
    }
    visit
}

/// A page in the place of an answer, to a request that may have a body.
fn refuse(request: Request<Incoming>, page: Page) -> Page {
    // A client that waits for leave to send shall not get it; any other is sending already.
    if !request.headers().contains_key(EXPECT) {
        discard(request.into_body());
    }
    page
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
    if request.method() == Method::CONNECT && !switch::is_extended(request) {
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
    let header = match request.uri().authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => request.headers().get(HOST).cloned(),
    };
    let header = header.ok_or(Page::BadRequest("The request does not say which host it is for."))?;
    let (host, port) = (asked.host.into_owned(), asked.port.map(str::to_owned));
    Ok(Place::App(Found { target, host, port, header }))
}

/// What the app's people have decided about requests, before one of its replicas is asked: the way to another host, or a
/// refusal.
fn admitted(
    client: &Client,
    request: &Request<Incoming>,
    found: &Found,
    visit: Option<&Visit>,
) -> Result<Option<Response<Bytes>>, Page> {
    ready(&found.target)?;
    let rules = found.target.rules();
    let instead = rules.canonical.and_then(|canonical| canonical.instead_of(&found.host));
    if let Some(host) = instead.filter(|host| client.shared.published.is_of(host, &found.target)) {
        let scheme = if client.peer.is_secure(request.headers()) { "https" } else { "http" };
        let port = found.port.as_ref().map(|port| format!(":{port}")).unwrap_or_default();
        return Ok(portal::redirect(scheme, &host, &port, request.uri()));
    }
    let full = |most: NonZeroU32| visit.is_some_and(|visit| visit.among() > most.get() as usize);
    if rules.connections.is_some_and(full) {
        return Err(Page::Busy);
    }
    let announced = request.body().size_hint().lower();
    if rules.body_bytes.is_some_and(|most| announced > most) {
        return Err(Page::TooLarge);
    }
    Ok(None)
}

async fn proxy(
    client: &Arc<Client>,
    mut request: Request<Incoming>,
    found: Found,
    id: &HeaderValue,
    visit: &mut Option<Visit>,
) -> Result<Response<AnswerBody>, Page> {
    let switch = Switch::asked(&mut request);
    let rules = found.target.rules();
    // A WebSocket's handshake is HTTP/1.1, also with apps that speak both.
    let h2c = rules.h2c && switch.is_none();
    let brought = if rules.affinity { Tag::brought(request.headers()) } else { None };
    let affine = rules.affinity;
    let config = &client.shared.config;
    let bounds = Bounds {
        most: rules.body_bytes.unwrap_or(u64::MAX),
        silence: config.body_timeout,
        talking: h2c.then(|| config.tunnel_idle_timeout.unwrap_or(Duration::MAX)),
    };
    let secure = client.peer.is_secure(request.headers());
    let (head, incoming) = request.into_parts();
    let (body, upload) = RequestBody::new(incoming, bounds);
    if let (Some(visit), Some(upload)) = (visit.as_mut(), &upload) {
        visit.brings(Arc::clone(upload));
    }
    let request = onwards(client, head, body, &found, id, switch.as_ref());
    let request = if h2c { by_http2(request, &found)? } else { request };
    let taken = forward(client, request, found.target, &found.host, brought, visit.as_ref()).await?;
    if let Some(note) = visit.as_mut().and_then(|visit| visit.note.as_mut()) {
        note.asked(taken.lease.name());
    }
    if let Some(upload) = &upload {
        upload.answered();
    }
    let (tag, status) = (taken.lease.tag(), taken.response.status());
    let mut response = if status == StatusCode::SWITCHING_PROTOCOLS {
        switch.ok_or(Page::NoAnswer)?.go(client, taken, visit)?
    } else if switch.is_some_and(|switch| switch.would_be_misread(status)) {
        return Err(Page::NoAnswer);
    } else {
        let (mut head, incoming) = taken.response.into_parts();
        headers::strip_response(&mut head.headers);
        head.version = Version::HTTP_11;
        let sent = upload.is_none_or(|upload| upload.is_over());
        let answer = Answer::new(incoming, taken.link, taken.lease, sent, config.backend_idle_connections).await;
        Response::from_parts(head, AnswerBody::backend(answer, Arc::clone(&client.activity)))
    };
    if affine
        && brought != Some(tag)
        && let Some(cookie) = tag.cookie(secure)
    {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(response)
}

/// The request as a replica shall see it.
fn onwards(
    client: &Client,
    mut head: Parts,
    body: RequestBody,
    found: &Found,
    id: &HeaderValue,
    switch: Option<&Switch>,
) -> Request<RequestBody> {
    headers::strip_request(&mut head.headers);
    if head.version == Version::HTTP_2 {
        headers::join_cookies(&mut head.headers);
    }
    client.peer.tell(&mut head.headers, &found.header, found.port.as_deref(), id);
    head.headers.insert(HOST, found.header.clone());
    head.version = Version::HTTP_11;
    if head.uri.authority().is_some() {
        head.uri = Uri::from(head.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")));
    }
    if !body.is_empty() && !head.headers.contains_key(CONTENT_LENGTH) {
        // Said for methods that usually have no body too, where hyper would take the body for absent.
        head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if let Some(switch) = switch {
        switch.ask(&mut head);
    }
    Request::from_parts(head, body)
}

/// The same request in HTTP/2's form: the host is part of the address (RFC 9113 8.3.1), and a body ends by itself.
fn by_http2(mut request: Request<RequestBody>, found: &Found) -> Result<Request<RequestBody>, Page> {
    let path = request.uri().path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    let address = Uri::builder().scheme("http").authority(found.header.as_bytes()).path_and_query(path).build();
    *request.uri_mut() = address.map_err(|_| Page::BadRequest("The request's address is malformed."))?;
    *request.version_mut() = Version::HTTP_2;
    [HOST, TRANSFER_ENCODING].iter().for_each(|name| _ = request.headers_mut().remove(name));
    Ok(request)
}
