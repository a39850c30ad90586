//! A connection that has changed to another protocol (RFC 9110 7.8): bytes both ways until both sides have ended.
//!
//! Counts as in flight: a deploy gives WebSockets their drain time.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional_with_sizes};
use tokio::time::{Instant, Sleep, sleep_until};

use super::link::Link;
use super::traffic::Visit;

/// Copy buffer each way, bytes: kept as long as the tunnel, and most say little for most of their time.
const BUFFER: usize = 4 * 1024;
/// How long one side may be silent after the other has ended: a peer that is gone for good must not hold up a drain.
const HALF_CLOSED: Duration = Duration::from_secs(10);

/// Copies between the two sides; one side's end is passed on while the other may go on. Ends with an error when both
/// have been silent for `idle`, or the second for [`HALF_CLOSED`]. Every byte is told to `visit`.
pub(super) async fn run(client: OnUpgrade, link: Link, idle: Option<Duration>, visit: &Visit) -> io::Result<()> {
    let (client, backend) = tokio::join!(client, link.into_stream());
    let (backend, early) = backend.ok_or(io::ErrorKind::Unsupported)?;
    let clock = Arc::new(Clock::new());
    let mut client =
        Heard::new(TokioIo::new(client.map_err(io::Error::other)?), &clock, |bytes| visit.tunnelled(bytes, 0));
    let mut backend = Heard::new(backend, &clock, |bytes| visit.tunnelled(0, bytes));
    visit.tunnelled(0, early.len() as u64);
    client.write_all(&early).await?;
    tokio::select! {
        copied = copy_bidirectional_with_sizes(&mut client, &mut backend, BUFFER, BUFFER) => copied.map(drop),
        () = clock.silence(idle) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// When something was last heard, milliseconds after its making, and whether one side has ended.
struct Clock {
    start: Instant,
    last: AtomicU64,
    half_closed: AtomicBool,
}

impl Clock {
    fn new() -> Self {
        Self { start: Instant::now(), last: AtomicU64::new(0), half_closed: AtomicBool::new(false) }
    }

    fn heard(&self, bytes: usize) {
        self.last.store(self.start.elapsed().as_millis() as u64, Relaxed);
        if bytes == 0 {
            self.half_closed.store(true, Relaxed);
        }
    }

    fn deadline(&self, idle: Option<Duration>) -> Option<Instant> {
        let half = self.half_closed.load(Relaxed).then_some(HALF_CLOSED);
        let limit = match (idle, half) {
            (Some(idle), Some(half)) => idle.min(half),
            (idle, half) => idle.or(half)?,
        };
        Some(self.start + Duration::from_millis(self.last.load(Relaxed)) + limit)
    }

    /// Resolves after too long a silence. To be polled in the task that copies: that is what moves the clock.
    async fn silence(&self, idle: Option<Duration>) {
        let mut timer = pin!(None::<Sleep>);
        poll_fn(|context| {
            loop {
                let Some(deadline) = self.deadline(idle) else { return Poll::Pending };
                if timer.as_ref().as_pin_ref().is_none_or(|timer| timer.deadline() > deadline || timer.is_elapsed()) {
                    timer.set(Some(sleep_until(deadline)));
                }
                if let Some(timer) = timer.as_mut().as_pin_mut() {
                    ready!(timer.poll(context));
                }
                if deadline <= Instant::now() {
                    return Poll::Ready(());
                }
            }
        })
        .await;
    }
}

/// A stream that notes when bytes come, and tells how many.
struct Heard<S, T> {
    stream: S,
    clock: Arc<Clock>,
    tell: T,
}

impl<S, T> Heard<S, T> {
    fn new(stream: S, clock: &Arc<Clock>, tell: T) -> Self {
        Self { stream, clock: Arc::clone(clock), tell }
    }
}

impl<S: AsyncRead + Unpin, T: Fn(u64) + Unpin> AsyncRead for Heard<S, T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let bytes = buffer.filled().len() - before;
        self.clock.heard(bytes);
        (self.tell)(bytes as u64);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin, T: Unpin> AsyncWrite for Heard<S, T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
