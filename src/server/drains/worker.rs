//! One drain at work: from the app's log to the other side, batch after batch, at its own pace.
//!
//! A batch is sent until it is taken, or refused for good. Meanwhile what comes waits in the log's own bounded queue for
//! this reader, the oldest going first; how many went is told to both sides. How far it has got is written down now and
//! then, so that the next server sends a few lines twice rather than none.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Pace;
use super::frame::frame;
use super::sink::{Failure, Parcel, Sink};
use super::target::Carrier;
use crate::server::domain::{AppName, LogLine, LogSource};
use crate::server::logs::{Feed, Logs, Position};
use crate::server::store::{DrainProgress, Store, StoreError};

/// Bytes that go together, but for the last line's.
const PARCEL: usize = 256 * 1024;
/// Lines that go together.
const LINES: usize = 1000;

/// How a drain does, as others see it.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) delivered: u64,
    pub(super) dropped: u64,
    pub(super) last_error: Option<(String, Timestamp)>,
}

pub(super) struct Worker {
    pub(super) id: i64,
    pub(super) app: AppName,
    pub(super) carrier: Carrier,
    pub(super) feed: Feed,
    pub(super) sink: Sink,
    pub(super) tally: Arc<Mutex<Tally>>,
    pub(super) store: Store,
    pub(super) logs: Logs,
    pub(super) pace: Pace,
    pub(super) stop: CancellationToken,
    pub(super) so_far: SoFar,
}

/// What a drain remembers while it works.
pub(super) struct SoFar {
    /// Up to where in the log all was taken.
    at: Position,
    written: Instant,
    pause: Duration,
    /// Whether the app was told that it fails.
    complained: bool,
    told: Option<Instant>,
    /// Lines lost of which the app has not been told.
    untold: u64,
    told_of_loss: Option<Instant>,
}

impl SoFar {
    pub(super) fn at(at: Position, pace: &Pace) -> Self {
        let (told, told_of_loss) = (None, None);
        Self { at, written: Instant::now(), pause: pace.first, complained: false, told, untold: 0, told_of_loss }
    }
}

/// It is to end.
struct Ended;

impl Worker {
    pub(super) async fn run(mut self) {
        let _ = self.work().await;
        // Also when the drain is no more, which is no error then.
        let _ = self.write_down().await;
    }

    async fn work(&mut self) -> Result<(), Ended> {
        loop {
            let news = tokio::select! {
                news = self.feed.next() => news,
                () = self.stop.cancelled() => return Err(Ended),
            };
            let Some(mut news) = news else { return Err(Ended) };
            self.lose(news.lost, &mut news.lines);
            while !news.lines.is_empty() {
                let (parcel, lines) = self.pack(&mut news.lines);
                self.deliver(&parcel, lines).await?;
            }
            self.so_far.at = self.feed.position();
            if self.so_far.written.elapsed() > self.pace.write_down {
                self.write_down().await.map_err(|_| Ended)?;
            }
        }
    }

    /// Sends until it is taken or refused for good.
    async fn deliver(&mut self, parcel: &Parcel, lines: u64) -> Result<(), Ended> {
        loop {
            let sent = tokio::select! {
                sent = self.sink.send(parcel) => sent,
                () = self.stop.cancelled() => return Err(Ended),
            };
            let Err(failure) = sent else {
                self.tally().delivered += lines;
                self.recover();
                return Ok(());
            };
            self.fail(&failure);
            let refused = matches!(failure, Failure::Never(_));
            if refused {
                self.tally().dropped += lines;
            }
            let pause = self.so_far.pause.mul_f64(rand::random_range(0.5..1.0));
            self.so_far.pause = (self.so_far.pause * 2).min(self.pace.longest);
            tokio::select! {
                () = sleep(pause) => {}
                () = self.stop.cancelled() => return Err(Ended),
            }
            // So that an error is seen though nothing is delivered; and the end of the drain.
            self.write_down().await.map_err(|_| Ended)?;
            if refused {
                return Ok(());
            }
        }
    }

    fn fail(&mut self, failure: &Failure) {
        let words = failure.words().to_owned();
        // What is told goes to the drain too, so it must not be told often.
        if !self.so_far.complained && is_due(&mut self.so_far.told, self.pace.tell) {
            self.so_far.complained = true;
            let text = format!("Drain {} does not take lines: {words}. It is tried again.", self.id);
            self.logs.platform(&self.app, text);
        }
        self.tally().last_error = Some((words, Timestamp::now()));
    }

    fn recover(&mut self) {
        self.so_far.pause = self.pace.first;
        if std::mem::take(&mut self.so_far.complained) {
            self.logs.platform(&self.app, format!("Drain {} takes lines again.", self.id));
        }
    }

    /// Tells the other side in the words that Heroku's users look for, and the app's log.
    fn lose(&mut self, lost: u64, lines: &mut VecDeque<LogLine>) {
        if lost > 0 {
            self.tally().dropped += lost;
            self.so_far.untold += lost;
            let at = lines.front().map_or_else(Timestamp::now, |line| line.at);
            let text = format!("Error L10 (output buffer overflow): {lost} messages dropped before {at}.");
            lines.push_front(LogLine { at, source: LogSource::Platform, text });
        }
        if self.so_far.untold > 0 && is_due(&mut self.so_far.told_of_loss, self.pace.tell) {
            let (id, lost) = (self.id, std::mem::take(&mut self.so_far.untold));
            let text =
                format!("Error L10 (output buffer overflow): {lost} lines were not sent to the slow drain {id}.");
            self.logs.platform(&self.app, text);
        }
    }

    fn pack(&self, lines: &mut VecDeque<LogLine>) -> (Parcel, u64) {
        let (mut body, mut frames, mut count) = (Vec::new(), 0, 0);
        while count < LINES
            && body.len() < PARCEL
            && let Some(line) = lines.pop_front()
        {
            frames += frame(&mut body, self.carrier, &self.app, &line);
            count += 1;
        }
        (Parcel { id: Uuid::now_v7(), frames, body: Bytes::from(body) }, count as u64)
    }

    async fn write_down(&mut self) -> Result<(), StoreError> {
        let Tally { delivered, dropped, last_error } = self.tally().clone();
        let Position { segment, place } = self.so_far.at;
        let progress = DrainProgress { segment, place, delivered, dropped, last_error };
        self.so_far.written = Instant::now();
        match self.store.note_drain(self.id, progress).await {
            Err(error) if !matches!(error, StoreError::NotFound | StoreError::Closed) => {
                tracing::error!(%error, app.name = %self.app, "A drain's progress was not written down.");
                Ok(())
            }
            done => done,
        }
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_due(last: &mut Option<Instant>, pause: Duration) -> bool {
    let due = last.is_none_or(|last| last.elapsed() > pause);
    if due {
        *last = Some(Instant::now());
    }
    due
}
