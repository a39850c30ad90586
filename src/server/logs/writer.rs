//! The one thread that writes, and what it shares with those who append and those who follow.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::LogLimits;
use super::backlog::{Backlog, Batch, Kept};
use super::follower::Follower;
use super::line::write_to;
use super::ring::{Ring, Snapshot};
use crate::server::domain::{AppName, LogLine, LogSource};

/// What the writer is asked to do, after it has written all that was appended before.
pub(super) enum Job {
    /// Give the files as they are; from then on send new lines to `follower`.
    Snapshot { app: AppName, follower: Option<Weak<Follower>>, done: oneshot::Sender<Snapshot> },
    /// Delete an app's files and end its followers.
    Remove { app: AppName, done: oneshot::Sender<()> },
    /// Nothing more.
    Flush { done: oneshot::Sender<()> },
}

/// What waits for the writer.
#[derive(Default)]
struct Waiting {
    lines: HashMap<AppName, Backlog>,
    jobs: Vec<Job>,
    closed: bool,
}

/// The side that everybody else sees.
pub(super) struct Shared {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    pub(super) limits: LogLimits,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Logs")
    }
}

impl Shared {
    pub(super) fn append(&self, app: &AppName, line: LogLine, kept: Option<Kept>) {
        let mut waiting = self.lock();
        match waiting.lines.get_mut(app) {
            Some(backlog) => backlog.push(line, kept),
            None => {
                let mut backlog = Backlog::new(self.limits.backlog_bytes);
                backlog.push(line, kept);
                waiting.lines.insert(app.clone(), backlog);
            }
        }
        drop(waiting);
        self.wake.notify_one();
    }

    pub(super) fn ask(&self, job: Job) {
        let mut waiting = self.lock();
        if !waiting.closed {
            waiting.jobs.push(job);
        }
        drop(waiting);
        self.wake.notify_one();
    }

    /// Waits until there is something to do. `None`: closed, and nothing left.
    fn next(&self) -> Option<(HashMap<AppName, Backlog>, Vec<Job>)> {
        let mut waiting = self.lock();
        while waiting.lines.is_empty() && waiting.jobs.is_empty() {
            if waiting.closed {
                return None;
            }
            waiting = self.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        Some((std::mem::take(&mut waiting.lines), std::mem::take(&mut waiting.jobs)))
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the writer when dropped, after it has written what waits.
#[derive(Debug)]
pub(super) struct Handle {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub(super) fn start(folder: PathBuf, limits: LogLimits) -> io::Result<(Arc<Shared>, Handle)> {
    let shared = Arc::new(Shared { waiting: Mutex::default(), wake: Condvar::new(), limits });
    let mut writer = Writer { shared: shared.clone(), folder, apps: HashMap::new(), refused: HashMap::new() };
    let thread = std::thread::Builder::new().name("log-writer".into()).spawn(move || writer.run())?;
    Ok((shared.clone(), Handle { shared, thread: Some(thread) }))
}

struct Writer {
    shared: Arc<Shared>,
    folder: PathBuf,
    apps: HashMap<AppName, Log>,
    /// Lines that the disk has refused since it last took one of the app; that it refuses has been reported.
    refused: HashMap<AppName, u64>,
}

/// One app's files and readers, since the first line or reader of this process.
struct Log {
    ring: Ring,
    followers: Vec<Weak<Follower>>,
}

impl Writer {
    fn run(&mut self) {
        while let Some((lines, jobs)) = self.shared.next() {
            for (app, mut backlog) in lines {
                self.write(&app, backlog.take());
            }
            for job in jobs {
                self.answer(job);
            }
        }
    }

    fn write(&mut self, app: &AppName, batch: Batch) {
        let refused = self.refused.get(app).copied().unwrap_or(0);
        let lost = batch.lost + refused;
        let notice = (lost > 0).then(|| LogLine {
            at: Timestamp::now(),
            source: LogSource::Platform,
            text: format!("… {lost} lines lost: written faster than they could be kept"),
        });
        let news = batch.lines.len() as u64;
        let lines: Vec<LogLine> = notice.into_iter().chain(batch.lines).collect();
        match self.keep(app, &lines) {
            Ok(()) => {
                self.refused.remove(app);
                batch.kept.into_iter().for_each(|kept| kept());
            }
            Err(error) => {
                if refused == 0 {
                    tracing::error!(app.name = %app, %error, "log lines could not be written");
                }
                self.refused.insert(app.clone(), lost + news);
            }
        }
    }

    fn keep(&mut self, app: &AppName, lines: &[LogLine]) -> io::Result<()> {
        let log = self.log(app)?;
        let mut text = String::new();
        for line in lines {
            write_to(&mut text, line);
            text.push('\n');
        }
        let kept = log.ring.append(&text);
        let end = log.ring.end();
        log.followers.retain(|follower| follower.upgrade().inspect(|follower| follower.push(lines, end)).is_some());
        kept
    }

    fn answer(&mut self, job: Job) {
        // Whoever has gone meanwhile needs no answer.
        match job {
            Job::Snapshot { app, follower, done } => match self.snapshot(&app, follower) {
                Ok(snapshot) => drop(done.send(snapshot)),
                Err(error) => tracing::error!(app.name = %app, %error, "log could not be read"),
            },
            Job::Remove { app, done } => {
                if let Err(error) = self.forget(&app) {
                    tracing::error!(app.name = %app, %error, "log could not be deleted");
                }
                let _ = done.send(());
            }
            Job::Flush { done } => drop(done.send(())),
        }
    }

    fn snapshot(&mut self, app: &AppName, follower: Option<Weak<Follower>>) -> io::Result<Snapshot> {
        let log = self.log(app)?;
        log.followers.retain(|follower| follower.strong_count() > 0);
        log.followers.extend(follower);
        log.ring.snapshot()
    }

    fn forget(&mut self, app: &AppName) -> io::Result<()> {
        self.refused.remove(app);
        self.apps.remove(app).into_iter().for_each(|log| log.end_followers());
        match std::fs::remove_dir_all(self.folder.join(app.as_str())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// An app's files, found on first use.
    fn log(&mut self, app: &AppName) -> io::Result<&mut Log> {
        match self.apps.entry(app.clone()) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(new) => {
                let ring = Ring::load(self.folder.join(app.as_str()), self.shared.limits.app_bytes)?;
                Ok(new.insert(Log { ring, followers: Vec::new() }))
            }
        }
    }
}

impl Log {
    fn end_followers(&self) {
        self.followers.iter().filter_map(Weak::upgrade).for_each(|follower| follower.end());
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.apps.values().for_each(Log::end_followers);
    }
}
