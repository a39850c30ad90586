//! A connection that has changed to another protocol (RFC 9110 7.8): bytes both ways until both sides have ended.
//!
//! Counts as in flight: a deploy gives WebSockets their drain time.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional_with_sizes};
use tokio::time::{Instant, sleep_until};

use super::exchange::Link;

/// Copy buffer each way, bytes.
const BUFFER: usize = 8 * 1024;

/// Copies between the two sides; one side's end is passed on while the other may go on. Ends with an error when both
/// have been silent for `idle`.
pub(super) async fn run(client: OnUpgrade, link: Link, idle: Option<Duration>) -> io::Result<()> {
    let (client, (backend, early)) = tokio::join!(client, link.into_stream());
    let clock = Arc::new(Clock::new());
    let mut client = Heard::new(TokioIo::new(client.map_err(io::Error::other)?), &clock);
    let mut backend = Heard::new(backend, &clock);
    client.write_all(&early).await?;
    tokio::select! {
        copied = copy_bidirectional_with_sizes(&mut client, &mut backend, BUFFER, BUFFER) => copied.map(drop),
        () = clock.silent_for(idle) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// When something was last heard, milliseconds after its making.
struct Clock {
    start: Instant,
    last: AtomicU64,
}

impl Clock {
    fn new() -> Self {
        Self { start: Instant::now(), last: AtomicU64::new(0) }
    }

    fn heard(&self) {
        self.last.store(self.start.elapsed().as_millis() as u64, Relaxed);
    }

    async fn silent_for(&self, idle: Option<Duration>) {
        let Some(idle) = idle else { return poll_fn(|_| Poll::Pending).await };
        loop {
            let deadline = self.start + Duration::from_millis(self.last.load(Relaxed)) + idle;
            if deadline <= Instant::now() {
                return;
            }
            sleep_until(deadline).await;
        }
    }
}

/// A stream that notes when bytes come.
struct Heard<S> {
    stream: S,
    clock: Arc<Clock>,
}

impl<S> Heard<S> {
    fn new(stream: S, clock: &Arc<Clock>) -> Self {
        Self { stream, clock: Arc::clone(clock) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.clock.heard();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
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
