//! The fast lane: ordinary requests (a `GET` or `HEAD` over HTTP/1.1, to an app without rules of its own) are handed on
//! without being taken apart and put together again. All others are hyper's.
//!
//! Guaranteed: the lane refuses nothing. A request that is in any way unusual is left untouched, with the connection, to
//! [`listen`](super::listen)'s other half; there the rest of the connection stays. So what is ambiguous is judged by one
//! reader only, and the lane is right whenever it recognises what it knows ([`request`], [`answer`] and [`chunks`] are
//! pure). As everywhere: a request is sent a second time only if it is idempotent and its connection was a kept one.
//!
//! Why it is quick: everything of a request happens in its client's task; a head and the beginning of a body are one
//! write; bodies go from one socket to the other through one buffer per thread; an idle connection holds no buffer.

mod answer;
mod body;
mod chunks;
mod outbox;
mod request;
mod wire;

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{HeaderValue, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep_until};

use self::body::Body;
use self::outbox::Outbox;
use self::request::{Head, Plain};
use super::inflight::Lease;
use super::listen::Client;
use super::pages::{Format, Page};
use super::snapshot::Target;
use super::traffic::Visit;
use super::{forwarded, host};
pub(super) use wire::Wire;

/// Bytes that a client may send while it is being answered.
const AHEAD: usize = 64 * 1024;
const HARDENING: &[u8] = b"strict-transport-security:";

/// How it ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// With the connection.
    Over,
    /// At a request, or a time, that is not for the lane.
    HandOver,
}

/// One client's connection.
pub(super) struct Lane<S> {
    client: Arc<Client>,
    stream: S,
    /// Read and not yet answered.
    input: Vec<u8>,
    /// On its way to the client.
    outbox: Outbox,
    clock: Clock,
    /// The client has been told that its answer is the last.
    last: bool,
}

/// A request that is ready to be sent.
struct Ready {
    target: Arc<Target>,
    lease: Lease,
    /// As the app shall see it.
    head: Vec<u8>,
    /// Bytes of the head as it came.
    length: usize,
    head_only: bool,
    id: HeaderValue,
}

/// Why there is no answer.
enum Failed {
    /// The client has gone, or the connection is of no use to it any more.
    Left,
    /// The connection to the backend had gone before anything was said.
    Stale,
    Page(Page),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Lane<S> {
    pub(super) fn new(client: Arc<Client>, stream: S) -> Self {
        Self { client, stream, input: Vec::new(), outbox: Outbox::default(), clock: Clock::default(), last: false }
    }

    /// The connection, and what has been read of it.
    pub(super) fn into_parts(self) -> (S, Vec<u8>) {
        (self.stream, self.input)
    }

    /// Answers ordinary requests, one after the other. To be dropped before its end only with the connection.
    pub(super) async fn run(&mut self) -> Outcome {
        if self.client.peer.is_trusted() {
            return Outcome::HandOver;
        }
        loop {
            let plain = match request::read(&self.input) {
                Head::Unusual => return Outcome::HandOver,
                Head::Plain(plain) => plain,
                Head::Partial => match self.hear().await {
                    Some(true) => continue,
                    Some(false) => return Outcome::Over,
                    None => return Outcome::HandOver,
                },
            };
            let Some(ready) = self.prepare(&plain) else { return Outcome::HandOver };
            let length = ready.length;
            if let Err(outcome) = self.exchange(ready).await {
                return outcome;
            }
            if self.last {
                // The answer has been sent; if this fails the client has gone.
                let _ = poll_fn(|context| Pin::new(&mut self.stream).poll_shutdown(context)).await;
                return Outcome::Over;
            }
            if self.input.len() > length {
                self.input.drain(..length);
            } else {
                // An idle connection is as small as can be.
                self.input = Vec::new();
                self.outbox = Outbox::default();
            }
        }
    }

    /// Reads more of a head: whether there is more. `None`: it is time for hyper.
    async fn hear(&mut self) -> Option<bool> {
        let Self { client, stream, input, .. } = self;
        poll_fn(|context| {
            if client.closing.load(Relaxed) || input.len() >= client.shared.config.max_head_bytes {
                return Poll::Ready(None);
            }
            let read = ready!(wire::poll_look(stream, context, |bytes, _| {
                input.extend_from_slice(bytes);
                !bytes.is_empty()
            }));
            Poll::Ready(Some(read.unwrap_or(false)))
        })
        .await
    }

    /// Finds out who is asked, and writes the head as they shall see it. `None`: that is not for the lane.
    fn prepare(&self, plain: &Plain) -> Option<Ready> {
        let (client, bytes) = (&self.client, &self.input);
        let (told_host, path) = (plain.host(bytes)?, plain.path(bytes)?);
        let asked = host::parse(told_host).ok()?;
        let secure = client.peer.is_over_tls();
        if !client.shared.lets_through(&asked.host, path, secure) {
            return None;
        }
        let target = client.shared.published.plain_target(&asked.host)?;
        let (_, lease) = target.pick(&[])?;
        let id = forwarded::new_request_id();
        let start = forwarded::milliseconds().to_string();
        let (scheme, usual) = if secure { ("https", "443") } else { ("http", "80") };
        let told: [&[u8]; 17] = [
            b"x-forwarded-for: ",
            client.peer.address(),
            b"\r\nx-forwarded-proto: ",
            scheme.as_bytes(),
            b"\r\nx-forwarded-host: ",
            told_host.as_bytes(),
            b"\r\nx-forwarded-port: ",
            asked.port.unwrap_or(usual).as_bytes(),
            b"\r\nforwarded: ",
            client.peer.element(),
            b";host=\"",
            told_host.as_bytes(),
            b"\"\r\nx-request-id: ",
            id.as_bytes(),
            b"\r\nx-request-start: ",
            start.as_bytes(),
            b"\r\n",
        ];
        let mut head = Vec::with_capacity(plain.length + 512);
        plain.write(bytes, &told, &mut head);
        Some(Ready { target, lease, head, length: plain.length, head_only: plain.head_only, id })
    }

    /// One request and its answer.
    async fn exchange(&mut self, ready: Ready) -> Result<(), Outcome> {
        let client = Arc::clone(&self.client);
        let _asked = client.activity.asked();
        let config = &client.shared.config;
        let mut kept = true;
        let mut wire = match ready.lease.take_wire(config.backend_idle_timeout) {
            Some(wire) => wire,
            None => {
                kept = false;
                // Whoever refuses has seen nothing of the request: hyper's half asks the others.
                let dialled = dial(&client, &ready).await;
                dialled.ok_or_else(|| {
                    ready.target.tally().retried();
                    Outcome::HandOver
                })?
            }
        };
        let mut visit = Visit::of(&ready.target);
        let mut body = loop {
            match self.ask(&mut wire, &ready, &mut visit).await {
                Ok(body) => break body,
                Err(Failed::Stale) if kept => {
                    visit.tally().retried();
                    kept = false;
                    let Some(fresh) = dial(&client, &ready).await else {
                        visit.forget();
                        return Err(Outcome::HandOver);
                    };
                    wire = fresh;
                }
                Err(Failed::Left) => return Err(Outcome::Over),
                Err(Failed::Stale) => return self.page(Page::NoAnswer, &ready, &mut visit).await,
                Err(Failed::Page(page)) => return self.page(page, &ready, &mut visit).await,
            }
        };
        if let Err(error) = self.relay(&mut wire, &mut body, &mut visit).await {
            tracing::debug!(backend = ready.lease.name(), %error, "an answer broke off");
            return Err(Outcome::Over);
        }
        if body.keep {
            ready.lease.give_wire_back(wire, config.backend_idle_connections);
        }
        Ok(())
    }

    /// Sends the request and takes the head of its answer: it, and what of the body has come with it, are in the outbox
    /// by then.
    async fn ask(&mut self, wire: &mut Wire, ready: &Ready, visit: &mut Visit) -> Result<Body, Failed> {
        wire.write_all(&ready.head).await.map_err(|_| Failed::Stale)?;
        self.clock.begin(self.client.shared.config.response_timeout);
        let Self { client, stream, input, outbox, clock, last } = self;
        let mut heard = Vec::new();
        poll_fn(|context| {
            // If the client has gone, nobody wants the answer.
            while input.len() < ready.length + AHEAD
                && let Poll::Ready(read) = wire::poll_look(stream, context, |bytes, _| {
                    input.extend_from_slice(bytes);
                    bytes.len()
                })
            {
                if !matches!(read, Ok(1..)) {
                    return Poll::Ready(Err(Failed::Left));
                }
            }
            while let Poll::Ready(read) = wire.poll_look(context, |bytes, context| {
                let end = bytes.is_empty();
                let all = if heard.is_empty() {
                    bytes
                } else {
                    heard.extend_from_slice(bytes);
                    &heard
                };
                let begun = outbox.begin(all, ready.head_only, |out| *last = dress(client, ready, out));
                match begun {
                    // More may come, and is to be put behind this.
                    Ok(None) if end && heard.is_empty() => Some(Err(Failed::Stale)),
                    Ok(None) if end => Some(Err(Failed::Page(Page::NoAnswer))),
                    Ok(None) => {
                        if heard.is_empty() {
                            heard.extend_from_slice(bytes);
                        }
                        None
                    }
                    Ok(Some((status, mut body, rest))) => {
                        visit.answered(status);
                        let passed = body.pass_on(&all[rest..], stream, context, outbox, visit);
                        Some(passed.map(|()| body).map_err(|_| Failed::Left))
                    }
                    Err(_) => Some(Err(Failed::Page(Page::NoAnswer))),
                }
            }) {
                match read {
                    Ok(None) => {}
                    Ok(Some(begun)) => return Poll::Ready(begun),
                    Err(_) if heard.is_empty() => return Poll::Ready(Err(Failed::Stale)),
                    Err(_) => return Poll::Ready(Err(Failed::Page(Page::NoAnswer))),
                }
            }
            clock.poll(context).map(|()| Err(Failed::Page(Page::TimedOut)))
        })
        .await
    }

    /// The rest of a body, to its end.
    async fn relay(&mut self, wire: &mut Wire, body: &mut Body, visit: &mut Visit) -> io::Result<()> {
        let Self { stream, outbox, .. } = self;
        poll_fn(|context| {
            loop {
                ready!(outbox.poll_empty(stream, context))?;
                if body.is_over() {
                    return Pin::new(&mut *stream).poll_flush(context);
                }
                ready!(wire.poll_look(context, |bytes, context| match bytes {
                    [] => body.end(outbox),
                    bytes => body.pass_on(bytes, stream, context, outbox, visit),
                }))??;
            }
        })
        .await
    }

    /// A page of ours in the place of an answer.
    async fn page(&mut self, page: Page, ready: &Ready, visit: &mut Visit) -> Result<(), Outcome> {
        tracing::info!(app.name = %ready.target.app(), backend = ready.lease.name(), ?page, "a backend did not answer");
        let wants = Format::wanted(&request::accept(&self.input));
        let page = page.render(wants, &ready.id);
        visit.answered(page.status().as_u16());
        visit.sent(page.body().len());
        // What a broken answer left there is not to be sent.
        self.outbox = Outbox::default();
        let last = &mut self.last;
        let bytes = written(&page, ready.head_only, |out| *last = dress(&self.client, ready, out));
        self.outbox.put(&bytes);
        let Self { stream, outbox, .. } = self;
        let sent = poll_fn(|context| {
            ready!(outbox.poll_empty(stream, context))?;
            Pin::new(&mut *stream).poll_flush(context)
        });
        sent.await.map_err(|_| Outcome::Over)
    }
}

async fn dial(client: &Client, ready: &Ready) -> Option<Wire> {
    Wire::dial(ready.lease.address(), client.shared.config.connect_timeout).await.ok()
}

/// The lines that every answer has from us; whether one says that it is the last.
fn dress(client: &Client, ready: &Ready, out: &mut Vec<u8>) -> bool {
    for part in [&b"x-request-id: "[..], ready.id.as_bytes(), b"\r\n"] {
        out.extend_from_slice(part);
    }
    let theirs = |out: &[u8]| out.windows(HARDENING.len()).any(|part| part.eq_ignore_ascii_case(HARDENING));
    let ours = if client.peer.is_over_tls() { client.shared.hardening() } else { None };
    if let Some(value) = ours.filter(|_| !theirs(out)) {
        for part in [HARDENING, b" ", value.as_bytes(), b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    let last = client.closing.load(Relaxed);
    if last {
        out.extend_from_slice(b"connection: close\r\n");
    }
    last
}

/// A page as bytes.
fn written(page: &Response<bytes::Bytes>, head_only: bool, dress: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {}\r\ncontent-length: {}\r\n", page.status(), page.body().len()).into_bytes();
    for (name, value) in page.headers() {
        for part in [name.as_str().as_bytes(), &b": "[..], value.as_bytes(), b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    answer::date(&mut out);
    dress(&mut out);
    out.extend_from_slice(b"\r\n");
    if !head_only {
        out.extend_from_slice(page.body());
    }
    out
}

/// How long an answer's head may take. One timer per connection, moved only when it fires too early.
#[derive(Default)]
struct Clock {
    due: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Clock {
    fn begin(&mut self, limit: Option<Duration>) {
        self.due = limit.map(|limit| Instant::now() + limit);
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(due) = self.due else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        loop {
            ready!(timer.as_mut().poll(context));
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
    }
}
