//! One connection to a backend, which has one request at a time.
//!
//! Over HTTP/1.1 it is driven by whoever uses it: sending a request polls it, reading the answer polls it. So a request
//! costs no hand-over between tasks, back-pressure is the client's own, and a client that goes away takes its backend
//! connection with it. Over HTTP/2 (without TLS, with prior knowledge) a task of its own drives it, and a request that
//! is given up is reset.
//!
//! Deliberately absent: many requests at a time over one HTTP/2 connection. Apps are near; what one connection would save
//! is less than what a slow visitor's stream can hold up in it.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::bodies::RequestBody;

/// Read and write buffer of a backend connection, bytes; also the largest head of an answer.
const BUFFER: usize = 128 * 1024;
/// Bytes of an answer that may be under way over HTTP/2 before its visitor has taken any.
const WINDOW: u32 = 256 * 1024;

/// One connection to a backend.
pub(super) enum Link {
    /// Boxed: a link moves from pool to request to answer and back.
    Http1(http1::SendRequest<RequestBody>, Box<Wire>),
    Http2(http2::SendRequest<RequestBody>),
}

pub(super) struct Wire {
    connection: http1::Connection<TokioIo<TcpStream>, RequestBody>,
    /// It must not be polled again.
    ended: bool,
}

impl Wire {
    /// Moves what can be moved; how the connection ended is told to the request on it, if there is one.
    fn drive(&mut self, context: &mut Context<'_>) {
        self.ended = self.ended || Pin::new(&mut self.connection).poll(context).is_ready();
    }

    async fn run(&mut self) {
        poll_fn(|context| {
            self.drive(context);
            if self.ended { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({:?}, open: {})", self.version(), self.is_ready())
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
    /// Connects, to speak HTTP/2 or else HTTP/1.1.
    pub(super) async fn dial(address: SocketAddr, version: Version, limit: Duration) -> io::Result<Self> {
        let stream = tokio::time::timeout(limit, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        let stream = TokioIo::new(stream);
        if version != Version::HTTP_2 {
            let mut builder = http1::Builder::new();
            builder.max_buf_size(BUFFER);
            let (sender, connection) = builder.handshake(stream).await.map_err(io::Error::other)?;
            return Ok(Self::Http1(sender, Box::new(Wire { connection, ended: false })));
        }
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.max_header_list_size(BUFFER as u32).max_send_buf_size(BUFFER);
        builder.initial_stream_window_size(WINDOW).initial_connection_window_size(WINDOW);
        let (sender, connection) = builder.handshake(stream).await.map_err(io::Error::other)?;
        // It ends with its last sender; why it did before is told to the request on it.
        tokio::spawn(connection);
        Ok(Self::Http2(sender))
    }

    /// What is spoken.
    pub(super) fn version(&self) -> Version {
        match self {
            Self::Http1(..) => Version::HTTP_11,
            Self::Http2(_) => Version::HTTP_2,
        }
    }

    /// Moves what can be moved.
    pub(super) fn drive(&mut self, context: &mut Context<'_>) {
        if let Self::Http1(_, wire) = self {
            wire.drive(context);
        }
    }

    /// Whether it can take a request.
    pub(super) fn is_ready(&self) -> bool {
        match self {
            Self::Http1(sender, wire) => !wire.ended && sender.is_ready(),
            Self::Http2(sender) => sender.is_ready(),
        }
    }

    /// Drives what nobody else drives to its end.
    pub(super) async fn run(&mut self) {
        if let Self::Http1(_, wire) = self {
            wire.run().await;
        }
    }

    /// After a 101: the bare stream, and what of it has been read already. HTTP/2 has no such change.
    pub(super) async fn into_stream(self) -> Option<(TcpStream, Bytes)> {
        let Self::Http1(_, mut wire) = self else { return None };
        wire.run().await;
        let parts = wire.connection.into_parts();
        Some((parts.io.into_inner(), parts.read_buf))
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) async fn send(&mut self, request: Request<RequestBody>) -> Result<Response<Incoming>, Unanswered> {
        let sent = match self {
            Self::Http1(sender, wire) => {
                let mut answer = pin!(sender.try_send_request(request));
                poll_fn(|context| {
                    wire.drive(context);
                    answer.as_mut().poll(context)
                })
                .await
            }
            Self::Http2(sender) => sender.try_send_request(request).await,
        };
        sent.map_err(|mut failed| Unanswered {
            unsent: failed.take_message().map(Box::new),
            error: failed.into_error(),
        })
    }
}
