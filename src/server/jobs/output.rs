//! What jobs say. Every line of a replica passes here on its way into the app's log; a job's is kept once more, in a ring
//! of the job's own, so that it is there as long as its record, whatever else the app says.
//!
//! The last line of a job is ours and tells its end. It goes the same way as the others, so whoever has read it has read
//! all, and whoever follows knows that there is nothing more to come.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use jiff::Timestamp;
use tokio::sync::oneshot;

use crate::server::domain::{AppName, JobId, JobKind, LogLine, LogSource, WorkloadId};
use crate::server::logs::{LogFilter, LogLimits, Logs};
use crate::server::runtime::{Lines, Spoken};

/// Longer than any line of a log could be waited for.
const HEARD: Duration = Duration::from_secs(30);

/// The output of all jobs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Output {
    logs: Logs,
    open: Arc<RwLock<HashMap<WorkloadId, Open>>>,
}

/// A job that has not ended.
#[derive(Debug)]
struct Open {
    id: JobId,
    last: Last,
}

/// Whether its last line has come.
#[derive(Debug)]
enum Last {
    /// It may say more.
    Open,
    /// It is on its way.
    Awaited(Option<oneshot::Sender<()>>),
    /// It has.
    Come,
}

impl Output {
    /// Kept below `folder`, so many bytes for each job.
    pub fn open(folder: &Path, bytes: u64) -> std::io::Result<Self> {
        let limits = LogLimits { app_bytes: bytes, ..LogLimits::default() };
        Ok(Self { logs: Logs::open(folder, limits)?, open: Arc::default() })
    }

    /// A line of a replica. Never blocks; one that is no job's is nothing.
    pub fn hear(&self, workload: &WorkloadId, line: &LogLine) {
        if JobKind::parse(workload.process.as_str()).is_none() {
            return;
        }
        let id = self.read_open().get(workload).map(|open| open.id);
        let Some((id, name)) = id.and_then(|id| Some((id, log_name(id)?))) else { return };
        self.logs.append(&name, line.clone());
        if is_last(id, line)
            && let Some(open) = self.write_open().get_mut(workload)
            && let Last::Awaited(heard) = &mut open.last
        {
            let _ = heard.take().map(|heard| heard.send(()));
            open.last = Last::Come;
        }
    }

    /// Whether it is a job's that has not ended.
    pub(super) fn knows(&self, workload: &WorkloadId) -> bool {
        self.read_open().contains_key(workload)
    }

    /// Its lines are kept from now on.
    pub(super) fn begin(&self, workload: WorkloadId, id: JobId) {
        self.write_open().entry(workload).or_insert(Open { id, last: Last::Open });
    }

    /// Sends the last line after all others and returns when it has come.
    pub(super) async fn end(&self, workload: &WorkloadId, text: &str, lines: &Lines) {
        let (heard, wait) = oneshot::channel();
        let id = match self.write_open().get_mut(workload) {
            Some(open) => {
                open.last = Last::Awaited(Some(heard));
                open.id
            }
            None => return,
        };
        let line =
            LogLine { at: Timestamp::now(), source: LogSource::Platform, text: format!("{}{text}", last_begins(id)) };
        let said = async {
            if lines.send(Spoken::new(workload.clone(), line)).await.is_ok() {
                let _ = wait.await;
            }
        };
        // Nobody carries lines any more when the server stops.
        let _ = tokio::time::timeout(HEARD, said).await;
    }

    /// It has ended, and nothing of it is left to be known.
    pub(super) fn close(&self, workload: &WorkloadId) {
        self.write_open().remove(workload);
    }

    /// What a job said, and with `follow` what it says until its end.
    pub(super) async fn read(&self, id: JobId, follow: bool) -> impl Stream<Item = LogLine> + Send + use<> {
        let Some(name) = log_name(id) else { return stream::empty().left_stream().left_stream() };
        let may_say_more = self.read_open().values().any(|open| open.id == id && !matches!(open.last, Last::Come));
        if !follow || !may_say_more {
            let lines = self.logs.tail(&name, usize::MAX, LogFilter::all()).await;
            return stream::iter(lines).right_stream().left_stream();
        }
        let lines = self.logs.follow(&name, usize::MAX, LogFilter::all());
        // Ends with the last line, not at the one after, which would be waited for in vain.
        let lines = Box::pin(lines);
        let until_last = stream::unfold((lines, false), move |(mut lines, over)| async move {
            let line = if over { None } else { lines.next().await };
            line.map(|line| {
                let over = is_last(id, &line);
                (line, (lines, over))
            })
        });
        until_last.right_stream()
    }

    /// Deletes what a job said.
    pub(super) async fn forget(&self, id: JobId) {
        if let Some(name) = log_name(id) {
            self.logs.remove(&name).await;
        }
    }

    /// The jobs of which output is kept.
    pub(super) async fn kept(&self) -> std::io::Result<Vec<JobId>> {
        let number = |name: AppName| name.as_str().strip_prefix(PREFIX)?.parse().ok().map(JobId);
        Ok(self.logs.apps().await?.into_iter().filter_map(number).collect())
    }

    /// Returns when everything heard before is on disk.
    pub async fn flush(&self) {
        self.logs.flush().await;
    }

    fn read_open(&self) -> RwLockReadGuard<'_, HashMap<WorkloadId, Open>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_open(&self) -> RwLockWriteGuard<'_, HashMap<WorkloadId, Open>> {
        self.open.write().unwrap_or_else(PoisonError::into_inner)
    }
}

const PREFIX: &str = "job-";

/// Logs are kept by names of apps; a job's is its number.
fn log_name(id: JobId) -> Option<AppName> {
    AppName::parse(&format!("{PREFIX}{id}")).ok()
}

fn last_begins(id: JobId) -> String {
    format!("Job {id} ended: ")
}

/// Only the platform has lines without a replica's name, so nobody can say this in its place.
fn is_last(id: JobId, line: &LogLine) -> bool {
    line.source == LogSource::Platform && line.text.starts_with(&last_begins(id))
}
