//! How long a client may keep a connection without asking for anything.
//!
//! One timer per connection (and one per request whose body keeps us waiting), which is moved only when it fires too early: a busy connection costs no timer work per
//! request. The phase is written by the stream (bytes came), by the service (a request began) and by the answer's body
//! (it ended): over HTTP/1.1 all in the connection's own task, over HTTP/2 counted.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::RouterConfig;

const WAITING: u64 = 0;
const HEAD: u64 = 1;
const BUSY: u64 = 2;
/// Busy, and the client takes nothing of its answer.
const STUCK: u64 = 3;

/// What a client connection is doing, and since when.
#[derive(Debug)]
pub(super) struct Activity {
    opened: Instant,
    /// Milliseconds after `opened`, times 4, plus the phase.
    state: AtomicU64,
    /// Whether it was ever asked for anything.
    used: AtomicBool,
    /// Requests under way: more than one over HTTP/2 only.
    asked: AtomicU32,
}

impl Activity {
    /// A new connection: its first head is due at once.
    pub(super) fn new() -> Self {
        let opened = Instant::now();
        Self { opened, state: AtomicU64::new(HEAD), used: AtomicBool::new(false), asked: AtomicU32::new(0) }
    }

    /// A request's head is complete. It counts as answered if what this returns is dropped before it is handed over.
    pub(super) fn asked(&self) -> Asked<'_> {
        self.used.store(true, Relaxed);
        self.asked.fetch_add(1, Relaxed);
        self.set(BUSY);
        Asked(Some(self))
    }

    /// Its answer has been handed over.
    pub(super) fn answered(&self) {
        // Over HTTP/2 requests are answered by tasks of their own.
        if self.asked.fetch_sub(1, Relaxed) > 1 {
            return;
        }
        self.set(WAITING);
    }

    /// Whether it was ever asked for anything.
    pub(super) fn was_used(&self) -> bool {
        self.used.load(Relaxed)
    }

    fn received(&self) {
        if self.phase() == WAITING {
            self.set(HEAD);
        }
    }

    /// The client's end of the line is full.
    fn stuck(&self) {
        if self.phase() == BUSY {
            self.set(STUCK);
        }
    }

    /// It took something.
    fn taken(&self) {
        if self.phase() == STUCK {
            self.set(BUSY);
        }
    }

    fn phase(&self) -> u64 {
        self.state.load(Relaxed) & 3
    }

    fn set(&self, phase: u64) {
        let since = self.opened.elapsed().as_millis() as u64;
        self.state.store((since << 2) | phase, Relaxed);
    }

    fn deadline(&self, limits: Limits) -> Option<Instant> {
        let state = self.state.load(Relaxed);
        let since = self.opened + Duration::from_millis(state >> 2);
        match state & 3 {
            WAITING => Some(since + limits.between),
            HEAD => Some(since + limits.head),
            STUCK => Some(since + limits.body),
            _ => None,
        }
    }
}

/// A request without an answer yet.
pub(super) struct Asked<'a>(Option<&'a Activity>);

impl Asked<'_> {
    /// The answer's body will tell when it has been answered.
    pub(super) fn hand_over(mut self) {
        self.0 = None;
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if let Some(activity) = self.0 {
            activity.answered();
        }
    }
}

/// How long is too long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// For a request's head.
    pub head: Duration,
    /// Between two requests.
    pub between: Duration,
    /// Without taking a byte of an answer.
    pub body: Duration,
}

impl Limits {
    pub(super) fn of(config: &RouterConfig) -> Self {
        Self { head: config.header_timeout, between: config.keep_alive_timeout, body: config.body_timeout }
    }
}

/// Resolves when a connection has been silent for too long. To be polled after the connection in the same task.
pub(super) struct Watchdog {
    activity: Arc<Activity>,
    limits: Limits,
    timer: Pin<Box<Sleep>>,
}

impl Watchdog {
    pub(super) fn new(activity: Arc<Activity>, limits: Limits) -> Self {
        let timer = Box::pin(sleep_until(activity.opened + limits.head));
        Self { activity, limits, timer }
    }
}

impl Future for Watchdog {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        loop {
            // Busy: whatever ends that runs in this task, and polls us again.
            let Some(deadline) = self.activity.deadline(self.limits) else { return Poll::Pending };
            if deadline < self.timer.deadline() {
                self.timer.as_mut().reset(deadline);
            }
            ready!(self.timer.as_mut().poll(context));
            if deadline <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(deadline);
        }
    }
}

/// Resolves when somebody has been silent for too long. Costs nothing until somebody is.
pub(super) struct Silence {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Silence {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, timer: None }
    }

    /// Something was heard.
    pub(super) fn broken(&mut self) {
        self.timer = None;
    }

    /// Nothing was heard; ready when that has gone on for too long.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit))).as_mut().poll(context)
    }
}

/// A client's stream that notes when bytes come, and when they can no longer go.
pub(super) struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self { stream, activity }
    }

    fn note<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match written {
            Poll::Pending => self.activity.stuck(),
            Poll::Ready(_) => self.activity.taken(),
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            self.activity.received();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.note(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
