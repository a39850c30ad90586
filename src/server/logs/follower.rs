//! One live reader: lines wait here for it, and the oldest are lost when it is slow.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{Stream, StreamExt, stream};
use jiff::Timestamp;
use tokio::sync::Notify;

use super::backlog::{Backlog, Batch};
use super::filter::LogFilter;
use super::ring::Position;
use crate::server::domain::{LogLine, LogSource};

/// What the writer fills and the reader empties.
#[derive(Debug)]
pub(super) struct Follower {
    filter: LogFilter,
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Debug)]
struct Waiting {
    backlog: Backlog,
    /// Where in the log the line after these begins.
    end: Position,
    ended: bool,
}

impl Follower {
    pub(super) fn new(limit: usize, filter: LogFilter) -> Self {
        let waiting = Waiting { backlog: Backlog::new(limit), end: Position::default(), ended: false };
        Self { filter, waiting: Mutex::new(waiting), wake: Notify::new() }
    }

    pub(super) fn push(&self, lines: &[LogLine], end: Position) {
        let mut waiting = self.lock();
        for line in lines.iter().filter(|line| self.filter.lets_through(line)) {
            waiting.backlog.push(line.clone(), None);
        }
        waiting.end = end;
        drop(waiting);
        self.wake.notify_one();
    }

    /// There will be no more.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.wake.notify_one();
    }

    /// The lines as they come, for the one reader there is.
    pub(super) fn lines(self: Arc<Self>) -> impl Stream<Item = LogLine> + Send {
        let batches = stream::unfold(self, |follower| async move {
            let (Batch { lost, lines, .. }, _) = follower.next().await?;
            let skipped = (lost > 0).then(|| LogLine {
                at: Timestamp::now(),
                source: LogSource::Platform,
                text: format!("… {lost} lines skipped: read too slowly"),
            });
            Some((stream::iter(skipped.into_iter().chain(lines)), follower))
        });
        batches.flatten()
    }

    /// What has come, and where in the log it ends.
    pub(super) async fn next(&self) -> Option<(Batch, Position)> {
        loop {
            match self.poll() {
                Some(batch) => return batch,
                None => self.wake.notified().await,
            }
        }
    }

    /// `Some(None)` at the end, `None` when there is nothing yet.
    fn poll(&self) -> Option<Option<(Batch, Position)>> {
        let mut waiting = self.lock();
        if !waiting.backlog.is_empty() {
            let end = waiting.end;
            return Some(Some((waiting.backlog.take(), end)));
        }
        waiting.ended.then_some(None)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
