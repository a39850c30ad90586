//! Whether a rising generation is healthy. Pure.
//!
//! A process that ends before all of its generation was ready fails the rollout at once, whatever its exit code: a
//! server that ends is not going to serve, and waiting for the deadline would only delay the news. The runtime's own
//! restarts are for later, when it has once been healthy.

use std::time::Duration;

use crate::server::domain::{Exit, HealthCheck, Instance, InstanceState, ProcessType, Workload, WorkloadId};

/// What is to be thought of a rising generation.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// Not all are ready, none has ended.
    Waiting,
    /// Every replica is ready.
    Healthy,
    /// One has ended.
    Ended(Box<Instance>, Exit),
}

/// Judges all workloads of one rollout together.
pub(super) fn judge(rising: &[Workload], instances: &[Instance]) -> Verdict {
    let of = |id: &WorkloadId| {
        let id = id.clone();
        instances.iter().filter(move |instance| instance.workload == id)
    };
    for workload in rising {
        if let Some((instance, exit)) = of(&workload.id).find_map(|i| i.last_exit.clone().map(|exit| (i, exit))) {
            return Verdict::Ended(Box::new(instance.clone()), exit);
        }
    }
    let ready = |workload: &Workload| {
        let count = of(&workload.id).filter(|instance| is_ready(workload.id.process.is_web(), instance)).count();
        count >= workload.replicas as usize
    };
    if rising.iter().all(ready) { Verdict::Healthy } else { Verdict::Waiting }
}

/// What keeps rising replicas from getting on: `web.1`, and why.
pub(super) fn troubles<'a>(
    rising: &'a [Workload],
    instances: &'a [Instance],
) -> impl Iterator<Item = (String, String)> + 'a {
    let rises = |instance: &&Instance| rising.iter().any(|workload| workload.id == instance.workload);
    let label = |instance: &Instance| format!("{}.{}", instance.workload.process, instance.index);
    instances.iter().filter(rises).filter_map(move |one| Some((label(one), one.trouble.clone()?)))
}

/// A `web` instance is of no use before its address is known.
fn is_ready(web: bool, instance: &Instance) -> bool {
    instance.state == InstanceState::Ready && (!web || instance.address.is_some())
}

/// The check that a rollout did not pass.
#[derive(Debug, Clone, PartialEq)]
pub enum FailedCheck {
    /// The process ended before it was ready.
    Ended(Exit),
    /// It ran, and its check did not pass in time.
    NotReady {
        /// The check.
        check: HealthCheck,
        /// How long it was given.
        waited: Duration,
    },
    /// The runtime made fewer instances than it was told to.
    NotStarted {
        /// How long it was given.
        waited: Duration,
    },
}

/// A rollout that failed: facts for `messages.rs`.
#[derive(Debug, Clone, PartialEq)]
pub struct RolloutFailure {
    /// Which process type.
    pub process: ProcessType,
    /// Which instance; `None` if there was none.
    pub instance: Option<String>,
    /// What it did not pass.
    pub check: FailedCheck,
    /// Why, in the words of who runs it, where that is known.
    pub trouble: Option<String>,
    /// The last lines it wrote, oldest first.
    pub last_lines: Vec<String>,
}

/// After the deadline: the first replica that is not ready, and why.
pub(super) fn blame(rising: &[Workload], instances: &[Instance], waited: Duration) -> Option<RolloutFailure> {
    rising.iter().find_map(|workload| {
        let mine: Vec<_> = instances.iter().filter(|instance| instance.workload == workload.id).collect();
        let slow = mine.iter().find(|instance| !is_ready(workload.id.process.is_web(), instance));
        let check = match slow {
            Some(_) => FailedCheck::NotReady { check: workload.health.clone(), waited },
            None if mine.len() < workload.replicas as usize => FailedCheck::NotStarted { waited },
            None => return None,
        };
        let trouble = slow.and_then(|instance| instance.trouble.clone());
        let instance = slow.map(|instance| instance.name.clone());
        Some(RolloutFailure { process: workload.id.process.clone(), instance, check, trouble, last_lines: Vec::new() })
    })
}
