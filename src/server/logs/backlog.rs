//! Lines that wait: bounded in bytes, the oldest go first, and how many went is remembered.

use std::collections::VecDeque;

use crate::server::domain::LogLine;

/// What a line costs beside its text.
const OVERHEAD: usize = 128;

/// What is to be done when a line is kept.
pub type Kept = Box<dyn FnOnce() + Send>;

/// A bounded queue of lines.
pub(super) struct Backlog {
    lines: VecDeque<(LogLine, Option<Kept>)>,
    bytes: usize,
    limit: usize,
    lost: u64,
}

/// What had waited.
pub(super) struct Batch {
    /// How many lines went missing before these.
    pub(super) lost: u64,
    pub(super) lines: VecDeque<LogLine>,
    /// To be done when they are kept, in their order.
    pub(super) kept: Vec<Kept>,
}

impl std::fmt::Debug for Backlog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backlog").field("lines", &self.lines.len()).field("lost", &self.lost).finish_non_exhaustive()
    }
}

impl Backlog {
    pub(super) fn new(limit: usize) -> Self {
        Self { lines: VecDeque::new(), bytes: 0, limit, lost: 0 }
    }

    pub(super) fn push(&mut self, line: LogLine, kept: Option<Kept>) {
        self.bytes += cost(&line);
        self.lines.push_back((line, kept));
        while self.bytes > self.limit
            && let Some((oldest, _)) = self.lines.pop_front()
        {
            self.bytes -= cost(&oldest);
            self.lost += 1;
        }
    }

    pub(super) fn take(&mut self) -> Batch {
        self.bytes = 0;
        let (lines, kept): (VecDeque<_>, Vec<_>) = self.lines.drain(..).unzip();
        Batch { lost: std::mem::take(&mut self.lost), lines, kept: kept.into_iter().flatten().collect() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.lost == 0
    }
}

fn cost(line: &LogLine) -> usize {
    line.text.len() + OVERHEAD
}
