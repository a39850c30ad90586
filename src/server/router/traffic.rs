//! What passes, counted for each app: requests by the class of their answer, how long they took, bytes of bodies both
//! ways, what is under way, what had to be tried again. Counted at the end of a request, by a few additions and without
//! a lock; an app's counts live as long as it has a route, over all tables.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::bodies::Progress;
use super::journal::Note;
use super::pages::Page;
use super::snapshot::{Published, Target};
use crate::server::domain::AppName;

/// Upper bounds of the histogram, seconds; one more bucket has no bound.
pub const BOUNDS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The status of a request whose visitor left before there was an answer, as others write it too.
const LEFT: u16 = 499;

/// The status of a tunnel, whatever its visitor was told (over HTTP/2 it is 200).
const SWITCHED: u16 = 101;

/// The counters of one app.
#[derive(Debug, Default)]
pub(super) struct Tally {
    open: AtomicUsize,
    /// 1xx to 5xx.
    classes: [AtomicU64; 5],
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
    retries: AtomicU64,
}

impl Tally {
    /// Something had to be tried on another connection.
    pub(super) fn retried(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    fn took(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.micros.fetch_add(time.as_micros() as u64, Relaxed);
    }

    fn answered(&self, status: u16) {
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        self.classes[class].fetch_add(1, Relaxed);
    }

    fn moved(&self, received: u64, sent: u64) {
        // Most requests have no body, and an addition of nothing costs as much as any.
        if received > 0 {
            self.received.fetch_add(received, Relaxed);
        }
        if sent > 0 {
            self.sent.fetch_add(sent, Relaxed);
        }
    }

    fn counts(&self, app: Option<AppName>) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        Counts {
            app,
            open: self.open.load(Relaxed),
            classes: self.classes.each_ref().map(read),
            buckets: self.buckets.each_ref().map(read),
            seconds: read(&self.micros) as f64 / 1e6,
            received: read(&self.received),
            sent: read(&self.sent),
            retries: read(&self.retries),
        }
    }
}

/// One request, from its head to its answer's last byte; counted when dropped.
pub(super) struct Visit {
    tally: Arc<Tally>,
    begun: Instant,
    status: u16,
    sent: u64,
    upload: Option<Arc<Progress>>,
    /// What the access log shall say, where it is kept.
    pub(super) note: Option<Box<Note>>,
    /// Whether it is one of those under way, and their number with it.
    among: usize,
    forgotten: bool,
}

impl Visit {
    /// A visitor of an app.
    pub(super) fn of(target: &Target) -> Self {
        let tally = Arc::clone(target.tally());
        let among = tally.open.fetch_add(1, Relaxed) + 1;
        let mut visit = Self::stray(tally);
        visit.among = among;
        visit
    }

    /// A visitor of nobody.
    pub(super) fn stray(tally: Arc<Tally>) -> Self {
        Self {
            tally,
            begun: Instant::now(),
            status: LEFT,
            sent: 0,
            upload: None,
            note: None,
            among: 0,
            forgotten: false,
        }
    }

    /// How many are under way, this one included.
    pub(super) fn among(&self) -> usize {
        self.among
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// There is an answer.
    pub(super) fn answered(&mut self, status: u16) {
        self.status = status;
    }

    /// It brings a body.
    pub(super) fn brings(&mut self, upload: Arc<Progress>) {
        self.upload = Some(upload);
    }

    /// What is to be said of the body that it brings, if that is broken.
    pub(super) fn fault(&self) -> Option<Page> {
        self.upload.as_ref().and_then(|upload| upload.fault())
    }

    /// Part of the answer went out.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    /// A tunnel has begun: counted as a request at once, so that its length is no request's; its bytes come with
    /// [`Self::tunnelled`].
    pub(super) fn switched(&mut self) {
        self.status = SWITCHED;
        self.tally.answered(SWITCHED);
        self.write();
    }

    /// A tunnel's bytes, from the visitor and to them.
    pub(super) fn tunnelled(&self, received: u64, sent: u64) {
        self.tally.moved(received, sent);
    }

    /// It is somebody else's to count.
    pub(super) fn forget(&mut self) {
        self.forgotten = true;
    }

    fn write(&mut self) {
        if let Some(note) = self.note.take() {
            note.write(self.status, self.sent, self.begun.elapsed());
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if self.among > 0 {
            self.tally.open.fetch_sub(1, Relaxed);
        }
        if self.status == SWITCHED || self.forgotten {
            return;
        }
        self.tally.answered(self.status);
        self.tally.took(self.begun.elapsed());
        self.tally.moved(self.upload.as_ref().map_or(0, |upload| upload.bytes()), self.sent);
        self.write();
    }
}

/// What has passed to and from one app, or to and from nobody.
#[derive(Debug, Clone, PartialEq)]
pub struct Counts {
    /// Whose; `None`: requests that no app was asked for.
    pub app: Option<AppName>,
    /// Requests and tunnels under way.
    pub open: usize,
    /// Answers, by the first digit of their status: 1 to 5.
    pub classes: [u64; 5],
    /// How many took up to each of [`BOUNDS`], and longer than all; tunnels are not among them.
    pub buckets: [u64; BOUNDS.len() + 1],
    /// How long they took together.
    pub seconds: f64,
    /// Bytes of bodies from visitors, tunnels included.
    pub received: u64,
    /// Bytes of bodies to visitors, tunnels included.
    pub sent: u64,
    /// Requests that went to a second connection.
    pub retries: u64,
}

/// The counts, for whoever asks; cheap to clone.
#[derive(Clone)]
pub struct Traffic(pub(super) Arc<Published>);

impl Traffic {
    /// Of every app that has a route, by name, and of nobody's visitors.
    pub fn counts(&self) -> Vec<Counts> {
        let mut all: Vec<_> = self.0.tallies().into_iter().map(|(app, tally)| tally.counts(Some(app))).collect();
        all.sort_by(|a, b| a.app.cmp(&b.app));
        all.push(self.0.strays().counts(None));
        all
    }
}
