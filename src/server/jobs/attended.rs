//! Jobs with a person at a terminal: the job's replica holds still, and the program runs in it as all programs do that people
//! bring ([`exec`](crate::server::runtime::Runtime::exec)), with a terminal, for as long as the visit lasts.
//!
//! So time limit, memory, `ps` and `jobs:stop` are those of every job, on every runtime. What the terminal shows goes to
//! the person and is kept nowhere.

use jiff::Timestamp;

use super::attend::next;
use super::begin::RUN_WORDS;
use super::{JobError, Jobs, Stop};
use crate::server::domain::{AppName, Exit, ExitReason, Instance, InstanceState, Job, JobCommand, JobId, WorkloadId};
use crate::server::runtime::RuntimeError;

/// What the replica itself runs: nothing, until it is told to end.
pub(super) const HOST: &str = "exec sleep infinity";
/// What the record says of it.
pub(super) const DETAIL: &str = "at a terminal; what it showed is not kept";

impl Jobs {
    /// Waits until a job's replica can be entered; `None` if the job has ended before.
    pub async fn begun(&self, app: &AppName, job: &Job) -> Result<Option<Instance>, JobError> {
        let id = WorkloadId { app: app.clone(), process: job.kind.into(), generation: job.id.0 };
        let ready = async {
            let mut events = self.0.rooms.runtime.watch();
            loop {
                let present = self.present(&id).await?;
                if let Some(ready) = present.filter(|instance| instance.state == InstanceState::Ready) {
                    return Ok::<_, RuntimeError>(ready);
                }
                next(&mut events, &id).await;
            }
        };
        tokio::select! {
            ended = self.ended(job.app, job.id) => ended.map(|_| None),
            ready = ready => ready.map(Some).map_err(JobError::Runtime),
        }
    }

    /// The program that a job's replica is there for.
    pub fn program(job: &Job) -> Vec<String> {
        match &job.command {
            JobCommand::Words(words) => {
                [&["/bin/bash", "-c", RUN_WORDS, "bash"].map(str::to_owned)[..], words].concat()
            }
            JobCommand::Line(line) => ["/bin/bash", "-c", line].map(str::to_owned).to_vec(),
        }
    }

    /// Its program has ended with that code, and so has the job.
    pub fn done(&self, id: JobId, code: i32) {
        if let Some(stop) = self.running().get(&id) {
            stop.send_if_modified(|stop| {
                let first = *stop == Stop::No;
                if first {
                    *stop = Stop::Done(code);
                }
                first
            });
        }
    }
}

/// The end of a program that ended with that code. How its replica was ended meanwhile tells whether a limit was the reason.
pub(super) fn exit(code: i32, replica: Option<Exit>) -> Exit {
    let reason = match (code, replica.map(|exit| exit.reason)) {
        (_, Some(ExitReason::TimedOut)) => ExitReason::TimedOut,
        (0, _) => ExitReason::Completed,
        (_, Some(ExitReason::OOMKilled)) => ExitReason::OOMKilled,
        _ => ExitReason::Error,
    };
    Exit { code, reason, at: Timestamp::now() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_the_replica_is_the_reason() {
        let of = |code, replica: Option<ExitReason>| {
            exit(code, replica.map(|reason| Exit { code: 143, reason, at: Timestamp::now() })).reason
        };
        assert_eq!(of(0, Some(ExitReason::Error)), ExitReason::Completed);
        assert_eq!(of(3, Some(ExitReason::Error)), ExitReason::Error);
        assert_eq!(of(3, None), ExitReason::Error);
        assert_eq!(of(137, Some(ExitReason::TimedOut)), ExitReason::TimedOut);
        assert_eq!(of(137, Some(ExitReason::OOMKilled)), ExitReason::OOMKilled);
        assert_eq!(of(0, Some(ExitReason::OOMKilled)), ExitReason::Completed, "something else there was killed");
    }
}
