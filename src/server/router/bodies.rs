//! The bytes between a client and a backend.
//!
//! Reading an answer drives the [`Link`] it comes over. One case needs a task of its own: an app that answers before it
//! has read the whole request must be written to and read from independently, or both sides could wait for each other.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Version;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;

use super::inflight::Lease;
use super::link::Link;
use super::pages::Page;
use super::patience::{Activity, Silence};
use super::traffic::Visit;

/// How much of an unwanted request body is read, bytes, and for how long.
const DISCARD_MOST: usize = 8 * 1024 * 1024;
const DISCARD_FOR: Duration = Duration::from_secs(5);

/// A request's body on its way to a backend.
pub(super) enum RequestBody {
    /// There is none; such a request can be made again.
    Empty,
    /// As the client sends it.
    Stream(Upload),
}

/// A body that a client sends.
pub(super) struct Upload {
    incoming: Incoming,
    progress: Arc<Progress>,
    silence: Silence,
    /// What the client may keep silent for once it is being answered, where the two talk to each other.
    talking: Option<Duration>,
    /// Bytes that may still come.
    left: u64,
}

/// How far a body has got.
#[derive(Default)]
pub(super) struct Progress {
    /// It has been sent on, or given up.
    over: AtomicBool,
    /// The answer has begun.
    answered: AtomicBool,
    bytes: AtomicU64,
    /// Why it did not come to its end, if that was the client's fault.
    fault: OnceLock<Page>,
}

impl Progress {
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Its answer has begun.
    pub(super) fn answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// What is to be said to the client whose body it was, if it was broken.
    pub(super) fn fault(&self) -> Option<Page> {
        self.fault.get().copied()
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.progress.over.store(true, Ordering::Release);
    }
}

/// Why a client's body did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// It broke off, or is no body.
    #[error("{0}")]
    Broken(#[from] hyper::Error),
    /// Nothing came for too long.
    #[error("the client stopped sending")]
    Silent,
    /// More came than may.
    #[error("the body is too large")]
    TooLarge,
}

impl Fault {
    fn page(&self) -> Page {
        match self {
            Self::Silent => Page::TooSlow,
            Self::TooLarge => Page::TooLarge,
            Self::Broken(_) => Page::BadRequest("The request's body is malformed."),
        }
    }
}

/// What a client's body may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Bytes.
    pub most: u64,
    /// Without a byte.
    pub silence: Duration,
    /// The same after the answer has begun, where that makes a difference: client and app talk to each other.
    pub talking: Option<Duration>,
}

impl RequestBody {
    /// The body, and how to see later how far it has got.
    pub(super) fn new(incoming: Incoming, bounds: Bounds) -> (Self, Option<Arc<Progress>>) {
        if incoming.is_end_stream() {
            return (Self::Empty, None);
        }
        let progress = Arc::new(Progress::default());
        let Bounds { most, silence, talking } = bounds;
        let silence = Silence::new(silence);
        let upload = Upload { incoming, progress: Arc::clone(&progress), silence, talking, left: most };
        (Self::Stream(upload), Some(progress))
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }
}

impl Upload {
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let frame = ready!(self.poll_bounded(context));
        if let Some(Err(fault)) = &frame {
            // Told by the body's end too, but HTTP/2 does not hand that on to whoever waits for the answer.
            let _ = self.progress.fault.set(fault.page());
        }
        Poll::Ready(frame)
    }

    fn poll_silence(&mut self, context: &mut Context<'_>) -> Poll<()> {
        ready!(self.silence.poll(context));
        let progress = &self.progress;
        if let Some(longer) = self.talking.take_if(|_| progress.answered.load(Ordering::Relaxed)) {
            self.silence = Silence::new(longer);
            return self.silence.poll(context);
        }
        Poll::Ready(())
    }

    fn poll_bounded(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(context) else {
            return self.poll_silence(context).map(|()| Some(Err(Fault::Silent)));
        };
        self.silence.broken();
        let bytes = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len) as u64,
            _ => 0,
        };
        let Some(left) = self.left.checked_sub(bytes) else { return Poll::Ready(Some(Err(Fault::TooLarge))) };
        self.left = left;
        self.progress.bytes.fetch_add(bytes, Ordering::Relaxed);
        Poll::Ready(frame.map(|frame| frame.map_err(Fault::from)))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Stream(upload) => upload.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Stream(upload) => upload.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Stream(upload) => upload.incoming.size_hint(),
        }
    }
}

/// An answer's body on its way to the client.
pub(super) struct AnswerBody {
    source: Source,
    activity: Arc<Activity>,
    visit: Option<Visit>,
}

enum Source {
    Page(Full<Bytes>),
    Backend(Answer),
}

/// Reads and drops a request body that nobody wants, within reason: a connection closed with bytes unread is reset, and
/// the reset may overtake the page that says why.
pub(super) fn discard(mut incoming: Incoming) {
    if incoming.is_end_stream() {
        return;
    }
    let reading = async move {
        let mut left = DISCARD_MOST;
        while left > 0
            && let Some(Ok(frame)) = incoming.frame().await
        {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        }
    };
    tokio::spawn(tokio::time::timeout(DISCARD_FOR, reading));
}

/// A backend's answer: its body, the connection it comes over, and the request's place in the count.
pub(super) struct Answer {
    incoming: Incoming,
    /// `None` when the connection is kept for another request already, or runs by itself.
    link: Option<Link>,
    lease: Option<Lease>,
    keep_most: usize,
    broken: Option<hyper::Error>,
}

impl Answer {
    /// `keep_most`: how many idle connections the backend's pool may hold.
    pub(super) async fn new(incoming: Incoming, link: Link, lease: Lease, sent: bool, keep_most: usize) -> Self {
        let mut answer = Self { incoming, link: Some(link), lease: Some(lease), keep_most, broken: None };
        if answer.incoming.is_end_stream() {
            poll_fn(|context| {
                answer.finish(context);
                Poll::Ready(())
            })
            .await;
        } else if !sent && let Some(mut link) = answer.link.take_if(|link| link.version() != Version::HTTP_2) {
            tokio::spawn(async move { link.run().await });
        }
        answer
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let frame = match (Pin::new(&mut self.incoming).poll_frame(context), &mut self.link) {
            (Poll::Pending, Some(link)) => {
                link.drive(context);
                ready!(Pin::new(&mut self.incoming).poll_frame(context))
            }
            (polled, _) => ready!(polled),
        };
        if let Some(Err(error)) = frame {
            // An error makes hyper drop what it has buffered. Waiting once lets the client have what did come.
            self.broken = Some(error);
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
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
        Self { source: Source::Page(Full::new(page)), activity, visit: None }
    }

    /// A backend's.
    pub(super) fn backend(answer: Answer, activity: Arc<Activity>) -> Self {
        Self { source: Source::Backend(answer), activity, visit: None }
    }

    /// With its end the visit ends.
    pub(super) fn ends(&mut self, visit: Option<Visit>) {
        self.visit = visit;
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(match &mut self.source {
            Source::Page(page) => Pin::new(page).poll_frame(context).map_err(|never| match never {}),
            Source::Backend(answer) => answer.poll_frame(context),
        });
        if let (Some(Ok(frame)), Some(visit)) = (&frame, &mut self.visit) {
            visit.sent(frame.data_ref().map_or(0, Bytes::len));
        }
        Poll::Ready(frame)
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
