//! Every line an app, its builds and the platform have to say, merged: kept on disk in a bounded ring per app, read
//! from the end, followed live.
//!
//! Invariants: [`Logs::append`] takes a short lock and nothing else, it never waits for a disk or a reader; an app that
//! writes faster than the disk loses its own oldest lines and is told how many; a reader that is too slow loses lines
//! and is told how many; one thread writes for all apps, and an idle app costs neither a thread nor an open file.
//!
//! How it holds together: that one thread owns all files and all followers. A reader asks it for a snapshot, which it
//! gives between two batches: what was appended before is in the snapshot's files, what comes after goes to the
//! follower. So nothing is missed and nothing seen twice, without a sequence number.
//!
//! Not here: drains to other machines (they read a [`Feed`]), and search.

mod backlog;
mod clean;
mod feed;
mod filter;
mod follower;
mod line;
mod read;
mod ring;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::{Stream, StreamExt, stream};
use jiff::Timestamp;
use tokio::sync::oneshot;

pub use backlog::Kept;
pub use feed::{Feed, News};
pub use filter::LogFilter;
pub use line::format;
pub use ring::Position;

use self::follower::Follower;
use self::read::Old;
use self::ring::Snapshot;
use self::writer::{Job, Shared};
use super::domain::{AppName, LogLine, LogSource};

/// How much is kept.
#[derive(Debug, Clone)]
pub struct LogLimits {
    /// Bytes on disk per app.
    pub app_bytes: u64,
    /// Bytes of one app's lines that may wait for the disk, or for one reader.
    pub backlog_bytes: usize,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { app_bytes: 10_000_000, backlog_bytes: 1_000_000 }
    }
}

/// The logs of all apps; cheap to clone. The last one dropped writes out what is waiting.
#[derive(Debug, Clone)]
pub struct Logs {
    folder: Arc<Path>,
    shared: Arc<Shared>,
    _writer: Arc<writer::Handle>,
}

impl Logs {
    /// Logs kept below `folder`, one folder per app.
    pub fn open(folder: &Path, limits: LogLimits) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let (shared, handle) = writer::start(PathBuf::from(folder), limits)?;
        Ok(Self { folder: Arc::from(folder), shared, _writer: Arc::new(handle) })
    }

    /// Adds a line. Its text is made safe for a terminal and cut to 64 KiB.
    pub fn append(&self, app: &AppName, line: LogLine) {
        self.keep(app, line, None);
    }

    /// The same; `kept` is called, by the one thread that writes, when the line is in its file: soon, or never if it is
    /// one of those that are lost.
    pub fn keep(&self, app: &AppName, mut line: LogLine, kept: Option<Kept>) {
        line.text = clean::clean(line.text);
        self.shared.append(app, line, kept);
    }

    /// Adds a line of the platform's own, or several when `text` has line ends.
    pub fn platform(&self, app: &AppName, text: impl AsRef<str>) {
        self.say(app, LogSource::Platform, text.as_ref());
    }

    /// Adds a build's output, line by line.
    pub fn build(&self, app: &AppName, text: impl AsRef<str>) {
        self.say(app, LogSource::Build, text.as_ref());
    }

    /// Adds a line of the app's access log.
    pub fn visit(&self, app: &AppName, text: impl AsRef<str>) {
        self.say(app, LogSource::Router, text.as_ref());
    }

    fn say(&self, app: &AppName, source: LogSource, text: &str) {
        for text in text.lines() {
            self.append(app, LogLine { at: Timestamp::now(), source: source.clone(), text: text.to_owned() });
        }
    }

    /// The newest `n` lines that `filter` lets through, oldest first; everything appended before the call counts.
    pub async fn tail(&self, app: &AppName, n: usize, filter: LogFilter) -> Vec<LogLine> {
        let Some(snapshot) = self.snapshot(app, None).await else { return Vec::new() };
        Old::new(snapshot, n, filter).stream().concat().await
    }

    /// The newest `n` lines of one instance: what a dying replica had to say.
    pub async fn last_lines(&self, app: &AppName, instance: &str, n: usize) -> Vec<LogLine> {
        self.tail(app, n, LogFilter::instance(instance)).await
    }

    /// The newest `n` lines, then every new one as it comes. Ends when the app's log is removed or the server stops.
    pub fn follow(&self, app: &AppName, n: usize, filter: LogFilter) -> impl Stream<Item = LogLine> + Send + use<> {
        let (logs, app) = (self.clone(), app.clone());
        stream::once(async move {
            let follower = Arc::new(Follower::new(logs.shared.limits.backlog_bytes, filter.clone()));
            match logs.snapshot(&app, Some(&follower)).await {
                Some(snapshot) => {
                    let old = Old::new(snapshot, n, filter).stream().flat_map(stream::iter);
                    old.chain(follower.lines()).left_stream()
                }
                None => stream::empty().right_stream(),
            }
        })
        .flatten()
    }

    /// Every line from a position on, for a reader that may be ended and taken up again.
    pub fn feed(&self, app: &AppName, from: Position) -> Feed {
        Feed::new(self.clone(), app.clone(), from)
    }

    /// Where the next line of an app will be. `None` when the server stops.
    pub async fn end(&self, app: &AppName) -> Option<Position> {
        Some(self.snapshot(app, None).await?.end())
    }

    /// Deletes an app's log and ends its followers. An app without one is no error.
    pub async fn remove(&self, app: &AppName) {
        let (done, wait) = oneshot::channel();
        self.shared.ask(Job::Remove { app: app.clone(), done });
        let _ = wait.await;
    }

    /// Whose logs are on disk.
    pub async fn apps(&self) -> io::Result<Vec<AppName>> {
        let mut folders = tokio::fs::read_dir(&*self.folder).await?;
        let mut apps = Vec::new();
        while let Some(folder) = folders.next_entry().await? {
            apps.extend(folder.file_name().to_str().and_then(|name| AppName::parse(name).ok()));
        }
        Ok(apps)
    }

    /// Returns when everything appended before is on disk.
    pub async fn flush(&self) {
        let (done, wait) = oneshot::channel();
        self.shared.ask(Job::Flush { done });
        let _ = wait.await;
    }

    /// `None` when the writer has ended.
    async fn snapshot(&self, app: &AppName, follower: Option<&Arc<Follower>>) -> Option<Snapshot> {
        let (done, wait) = oneshot::channel();
        self.shared.ask(Job::Snapshot { app: app.clone(), follower: follower.map(Arc::downgrade), done });
        wait.await.ok()
    }
}

#[cfg(test)]
mod tests;
