//! Lines that wait: bounded in bytes, the oldest go first, and how many went is remembered.

use std::collections::VecDeque;

use crate::server::domain::LogLine;

/// What a line costs beside its text.
const OVERHEAD: usize = 128;

/// A bounded queue of lines.
#[derive(Debug)]
pub(super) struct Backlog {
    lines: VecDeque<LogLine>,
    bytes: usize,
    limit: usize,
    lost: u64,
}

/// What had waited.
#[derive(Debug)]
pub(super) struct Batch {
    /// How many lines went missing before these.
    pub(super) lost: u64,
    pub(super) lines: VecDeque<LogLine>,
}

impl Backlog {
    pub(super) fn new(limit: usize) -> Self {
        Self { lines: VecDeque::new(), bytes: 0, limit, lost: 0 }
    }

    pub(super) fn push(&mut self, line: LogLine) {
        self.bytes += cost(&line);
        self.lines.push_back(line);
        while self.bytes > self.limit
            && let Some(oldest) = self.lines.pop_front()
        {
            self.bytes -= cost(&oldest);
            self.lost += 1;
        }
    }

    pub(super) fn take(&mut self) -> Batch {
        self.bytes = 0;
        Batch { lost: std::mem::take(&mut self.lost), lines: std::mem::take(&mut self.lines) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.lost == 0
    }
}

fn cost(line: &LogLine) -> usize {
    line.text.len() + OVERHEAD
}
