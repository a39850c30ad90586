//! After a start, however the last server ended: what ran is attended to again, what waited waits on. A release phase
//! whose deploy was cut off is ended, for the deploy has been undone; what a person attended to is ended too.

use std::collections::HashSet;

use crate::server::domain::{JobKind, JobState};
use crate::server::store::Store;

use super::output::Output;
use super::{JobError, Jobs};

impl Output {
    /// Knows again what has not ended, and forgets what has no record. Before the runtime hands on the first line.
    pub async fn recover(&self, store: &Store) -> Result<(), JobError> {
        for job in store.open_jobs().await? {
            self.begin(job.workload_id(), job.job.id);
        }
        let recorded: HashSet<_> = store.all_job_ids().await?.into_iter().collect();
        let kept = self.kept().await.map_err(|error| crate::server::store::StoreError::Io(error.to_string()))?;
        for id in kept.into_iter().filter(|id| !recorded.contains(id)) {
            self.forget(id).await;
        }
        Ok(())
    }
}

impl Jobs {
    /// Goes on with what the last server left, and begins to keep time.
    pub async fn start(&self) -> Result<(), JobError> {
        self.take_over().await?;
        self.keep_time();
        Ok(())
    }

    pub(super) async fn take_over(&self) -> Result<(), JobError> {
        for mut job in self.0.rooms.store.open_jobs().await? {
            self.0.rooms.output.begin(job.workload_id(), job.job.id);
            if job.job.kind == JobKind::Release || job.job.attended {
                self.0.rooms.store.stop_job(job.job.id).await?;
                job.stopping = true;
            }
            if job.job.state == JobState::Running {
                self.attend_later(job);
            }
        }
        self.choose().await
    }
}
