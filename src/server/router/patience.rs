//! How long a client may keep a connection without asking for anything.
//!
//! One timer per connection, which is moved only when it fires too early: a busy connection costs no timer work per
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

const WAITING: u64 = 0;
const HEAD: u64 = 1;
const BUSY: u64 = 2;

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

/// A client's stream that notes when bytes come.
pub(super) struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self { stream, activity }
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
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
