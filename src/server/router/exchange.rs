//! The bytes between a client and a backend.
//!
//! A [`Link`] is one HTTP/1.1 connection to a backend, and it is driven by whoever uses it: sending a request polls it,
//! reading the [`Answer`] polls it. So a request costs no hand-over between tasks, back-pressure is the client's own, and
//! a client that goes away takes its backend connection with it. One case needs a task of its own: an app that answers
//! before it has read the whole body must be read and written independently, or both sides could wait for each other.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::inflight::Lease;
use super::patience::Activity;

/// Read and write buffer of a backend connection, bytes; also the largest head of an answer.
const BUFFER: usize = 128 * 1024;

/// One connection to a backend.
pub(super) struct Link {
    sender: SendRequest<RequestBody>,
    wire: Wire,
}

struct Wire {
    connection: http1::Connection<TokioIo<TcpStream>, RequestBody>,
    /// It must not be polled again.
    ended: bool,
}

impl Wire {
    /// Moves what can be moved; how the connection ended is told to the request on it, if there is one.
    fn drive(&mut self, context: &mut Context<'_>) {
        self.ended = self.ended || Pin::new(&mut self.connection).poll(context).is_ready();
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link(open: {})", !self.wire.ended)
    }
}

/// Why a request got no answer.
pub(super) struct Unanswered {
    /// What went wrong.
    pub error: hyper::Error,
    /// The request, when nothing of it was sent.
    pub unsent: Option<Request<RequestBody>>,
}

impl Link {
    /// Connects.
    pub(super) async fn dial(address: SocketAddr, limit: Duration) -> io::Result<Self> {
        let stream = tokio::time::timeout(limit, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(BUFFER);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        Ok(Self { sender, wire: Wire { connection, ended: false } })
    }

    /// Moves what can be moved.
    pub(super) fn drive(&mut self, context: &mut Context<'_>) {
        self.wire.drive(context);
    }

    /// Whether it can take a request.
    pub(super) fn is_ready(&self) -> bool {
        !self.wire.ended && self.sender.is_ready()
    }

    /// Drives until it has ended.
    async fn run(&mut self) {
        poll_fn(|context| {
            self.wire.drive(context);
            if self.wire.ended { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// After a 101: the bare stream, and what of it has been read already.
    pub(super) async fn into_stream(mut self) -> (TcpStream, Bytes) {
        self.run().await;
        let parts = self.wire.connection.into_parts();
        (parts.io.into_inner(), parts.read_buf)
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) async fn send(&mut self, request: Request<RequestBody>) -> Result<Response<Incoming>, Unanswered> {
        let mut answer = pin!(self.sender.try_send_request(request));
        let wire = &mut self.wire;
        poll_fn(|context| {
            wire.drive(context);
            answer.as_mut().poll(context)
        })
        .await
        .map_err(|mut failed| Unanswered { unsent: failed.take_message(), error: failed.into_error() })
    }
}

/// A request's body on its way to a backend.
pub(super) enum RequestBody {
    /// There is none; such a request can be made again.
    Empty,
    /// As the client sends it.
    Stream {
        /// From the client.
        incoming: Incoming,
        /// Raised when it has been sent, or given up.
        over: Over,
    },
}

/// Raises its flag when dropped.
pub(super) struct Over(Arc<AtomicBool>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl RequestBody {
    /// The body, and how to see later whether it is over.
    pub(super) fn new(incoming: Incoming) -> (Self, Option<Arc<AtomicBool>>) {
        if incoming.is_end_stream() {
            return (Self::Empty, None);
        }
        let over = Arc::new(AtomicBool::new(false));
        (Self::Stream { incoming, over: Over(Arc::clone(&over)) }, Some(over))
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Stream { incoming, .. } => Pin::new(incoming).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Stream { incoming, .. } => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Stream { incoming, .. } => incoming.size_hint(),
        }
    }
}

/// An answer's body on its way to the client.
pub(super) struct AnswerBody {
    source: Source,
    activity: Arc<Activity>,
}

enum Source {
    Page(Full<Bytes>),
    Backend(Answer),
}

/// A backend's answer: its body, the connection it comes over, and the request's place in the count.
pub(super) struct Answer {
    incoming: Incoming,
    /// `None` when the connection is kept for another request already, or runs by itself.
    link: Option<Link>,
    lease: Option<Lease>,
    keep_most: usize,
}

impl Answer {
    /// `keep_most`: how many idle connections the backend's pool may hold.
    pub(super) async fn new(incoming: Incoming, link: Link, lease: Lease, sent: bool, keep_most: usize) -> Self {
        let mut answer = Self { incoming, link: Some(link), lease: Some(lease), keep_most };
        if answer.incoming.is_end_stream() {
            poll_fn(|context| Poll::Ready(answer.finish(context))).await;
        } else if !sent && let Some(mut link) = answer.link.take() {
            tokio::spawn(async move { link.run().await });
        }
        answer
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = match (Pin::new(&mut self.incoming).poll_frame(context), &mut self.link) {
            (Poll::Pending, Some(link)) => {
                link.drive(context);
                ready!(Pin::new(&mut self.incoming).poll_frame(context))
            }
            (polled, _) => ready!(polled),
        };
        if frame.is_none() || self.incoming.is_end_stream() {
            self.finish(context);
        }
        Poll::Ready(frame)
    }

    /// The body has come to its end: the request is over, and its connection free for the next.
    fn finish(&mut self, context: &mut Context<'_>) {
        let lease = self.lease.take();
        if let (Some(mut link), Some(lease)) = (self.link.take(), lease) {
            link.drive(context);
            if link.is_ready() {
                lease.give_back(link, self.keep_most);
            }
        }
    }
}

impl AnswerBody {
    /// A page of ours.
    pub(super) fn page(page: Bytes, activity: Arc<Activity>) -> Self {
        Self { source: Source::Page(Full::new(page)), activity }
    }

    /// A backend's.
    pub(super) fn backend(answer: Answer, activity: Arc<Activity>) -> Self {
        Self { source: Source::Backend(answer), activity }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.source {
            Source::Page(page) => Pin::new(page).poll_frame(context).map_err(|never| match never {}),
            Source::Backend(answer) => answer.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Page(page) => page.is_end_stream(),
            Source::Backend(answer) => answer.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Page(page) => page.size_hint(),
            Source::Backend(answer) => answer.incoming.size_hint(),
        }
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        self.activity.answered();
    }
}
