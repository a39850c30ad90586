//! A replica's output on its way from the folder to the logs: in order, none lost, and never in the way of anything else
//! the replica's task does. A server that is killed between keeping lines and saying so leaves a few for the next one to
//! hand on again; else each comes once.

use std::io;
use std::path::Path;

use super::folder::Spec;
use super::spool::{Batch, Line, Reader};
use crate::server::domain::{LogLine, LogSource, WorkloadId};
use crate::server::runtime::{Lines, Spoken};
use jiff::Timestamp;

const MOST: usize = 64;

pub(super) struct Output {
    reader: Reader,
    logs: Lines,
    workload: WorkloadId,
    source: LogSource,
    /// Read and not yet handed on.
    batch: Option<Batch>,
}

impl Output {
    pub(super) fn open(dir: &Path, logs: &Lines, workload: &WorkloadId, spec: &Spec) -> io::Result<Self> {
        let source = LogSource::Instance { name: spec.name.clone(), process: spec.process.clone(), index: spec.index };
        Ok(Self { reader: Reader::open(dir)?, logs: logs.clone(), workload: workload.clone(), source, batch: None })
    }

    /// There may be something new.
    pub(super) fn look(&mut self) {
        if self.batch.is_some() {
            return;
        }
        let most = MOST.min(self.logs.max_capacity().saturating_sub(1)).max(1);
        match self.reader.read(most) {
            Ok(batch) if batch != Batch::default() => self.batch = Some(batch),
            Ok(_) => {}
            Err(error) => tracing::error!(app.name = %self.workload.app, "output cannot be read: {error}"),
        }
    }

    /// Hands on what was read when the log has room, and looks for more; waits for ever when there is nothing. Dropped
    /// while it waits it has done nothing.
    pub(super) async fn hand_on(&mut self) {
        let Some(batch) = &self.batch else { return std::future::pending().await };
        let count = (batch.lines.len() + usize::from(batch.dropped > 0)).min(self.logs.max_capacity());
        // From here on nothing waits: what is handed on is passed in the same breath.
        let Ok(permits) = self.logs.reserve_many(count).await else { return std::future::pending().await };
        let notice = (batch.dropped > 0).then(|| Line {
            at: Timestamp::now(),
            platform: true,
            text: format!("{} lines were dropped because they could not be kept", batch.dropped),
        });
        let acknowledge = self.reader.pass(batch);
        let app = self.workload.app.clone();
        let kept = move || {
            if let Err(error) = acknowledge() {
                tracing::error!(app.name = %app, "output cannot be acknowledged and may be seen twice: {error}");
            }
        };
        let lines = notice.into_iter().chain(batch.lines.iter().cloned());
        let mut spoken: Vec<_> = lines
            .map(|line| {
                let source = if line.platform { LogSource::Platform } else { self.source.clone() };
                Spoken::new(self.workload.clone(), LogLine { at: line.at, source, text: line.text })
            })
            .collect();
        if let Some(last) = spoken.last_mut() {
            last.kept = Some(Box::new(kept));
        }
        permits.zip(spoken).for_each(|(permit, spoken)| permit.send(spoken));
        self.batch = None;
        self.look();
    }

    /// Hands on all that is left.
    pub(super) async fn finish(&mut self) {
        self.look();
        while self.batch.is_some() && !self.logs.is_closed() {
            self.hand_on().await;
        }
    }
}
