//! A reader that takes up where an earlier one stopped, also after a restart: it knows the position of what it has read.
//!
//! What lies on disk is read in pieces until the end is near, and only then does it wait with the others for what comes.
//! So a feed that is far behind loses nothing that the log still keeps.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Logs;
use super::filter::LogFilter;
use super::follower::Follower;
use super::read::{Old, PIECE};
use super::ring::Position;
use crate::server::domain::{AppName, LogLine};

/// A reader of one app's log from a position on.
#[derive(Debug)]
pub struct Feed {
    logs: Logs,
    app: AppName,
    at: Position,
    /// What lies on disk, while that is read.
    old: Option<Old>,
    /// What has come since, once it is near.
    live: Option<Arc<Follower>>,
}

/// Lines that have come.
#[derive(Debug, Default)]
pub struct News {
    /// Lines that were lost before these: they came faster than they were read.
    pub lost: u64,
    /// Oldest first.
    pub lines: VecDeque<LogLine>,
}

impl Feed {
    pub(super) fn new(logs: Logs, app: AppName, at: Position) -> Self {
        Self { logs, app, at, old: None, live: None }
    }

    /// Where what comes next begins.
    pub fn position(&self) -> Position {
        self.at
    }

    /// Waits for more. `None` when the app's log was removed or the server stops.
    pub async fn next(&mut self) -> Option<News> {
        loop {
            if let Some(old) = self.old.take() {
                if let Some(news) = self.read(old).await {
                    return Some(news);
                }
                continue;
            }
            let Some(live) = &self.live else {
                self.look().await?;
                continue;
            };
            let (batch, end) = live.next().await?;
            self.at = self.at.max(end);
            return Some(News { lost: batch.lost, lines: batch.lines });
        }
    }

    async fn read(&mut self, old: Old) -> Option<News> {
        let end = old.end();
        match old.next().await {
            Ok((Some(lines), old)) => {
                self.at = old.position();
                self.old = Some(old);
                (!lines.is_empty()).then(|| News { lost: 0, lines: lines.into() })
            }
            Ok((None, old)) => {
                self.at = self.at.max(old.position());
                None
            }
            Err(error) => {
                tracing::warn!(app.name = %self.app, %error, "old log lines could not be read");
                // Else it would be tried again for ever.
                self.at = self.at.max(end);
                None
            }
        }
    }

    /// Finds what lies on disk from here on; if it is little, what comes later is waited for at the same time.
    async fn look(&mut self) -> Option<()> {
        let old = Old::since(self.logs.snapshot(&self.app, None).await?, self.at);
        if old.bytes() > PIECE {
            self.old = Some(old);
            return Some(());
        }
        let follower = Arc::new(Follower::new(self.logs.shared.limits.backlog_bytes, LogFilter::all()));
        self.old = Some(Old::since(self.logs.snapshot(&self.app, Some(&follower)).await?, self.at));
        self.live = Some(follower);
        Some(())
    }
}
