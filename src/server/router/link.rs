//! One HTTP/1.1 connection to a backend.
//!
//! It is driven by whoever uses it: sending a request polls it, reading the answer polls it. So a request costs no
//! hand-over between tasks, back-pressure is the client's own, and a client that goes away takes its backend connection
//! with it.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::bodies::RequestBody;

/// Read and write buffer of a backend connection, bytes; also the largest head of an answer.
const BUFFER: usize = 128 * 1024;

/// One connection to a backend.
pub(super) struct Link {
    sender: SendRequest<RequestBody>,
    /// Boxed: a link moves from pool to request to answer and back.
    wire: Box<Wire>,
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
    pub unsent: Option<Box<Request<RequestBody>>>,
}

impl Link {
    /// Connects.
    pub(super) async fn dial(address: SocketAddr, limit: Duration) -> io::Result<Self> {
        let stream = tokio::time::timeout(limit, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(BUFFER);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        Ok(Self { sender, wire: Box::new(Wire { connection, ended: false }) })
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
    pub(super) async fn run(&mut self) {
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
        .map_err(|mut failed| Unanswered { unsent: failed.take_message().map(Box::new), error: failed.into_error() })
    }
}
