//! What a change comes down to. Pure: what stands and what is wanted in, three lists out. Their order is not a choice
//! and so not part of the plan: raise all beside the old, all healthy, commit, swap, resize, retire (`rollout.rs`).
//!
//! All new replicas stand beside all old ones. That needs twice the memory for as long as a deploy takes, and buys that
//! a failure is undone by removing what is new, whichever replica it was, and that no visitor meets two versions at once.

use crate::server::domain::{Workload, WorkloadId};

/// The plan.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Plan {
    /// New generations, to stand beside the old.
    pub raise: Vec<Workload>,
    /// Standing generations that get another number of replicas.
    pub resize: Vec<(WorkloadId, u32)>,
    /// Standing generations that are replaced or no longer wanted.
    pub retire: Vec<WorkloadId>,
}

/// Everything anew: a deploy, a rollback, another config, a restart.
pub(super) fn renew(serving: &[Workload], wanted: Vec<Workload>) -> Plan {
    Plan {
        raise: wanted.into_iter().filter(|workload| workload.replicas > 0).collect(),
        resize: Vec::new(),
        retire: serving.iter().map(|workload| workload.id.clone()).collect(),
    }
}

/// Only as many replicas more or fewer; those of another size have to be made anew. What stands keeps its release,
/// even if a newer one waits for the next restart.
pub(super) fn rescale(serving: &[Workload], wanted: Vec<Workload>) -> Plan {
    let mut plan = Plan::default();
    for standing in serving {
        if !wanted.iter().any(|workload| workload.id.process == standing.id.process && workload.replicas > 0) {
            plan.retire.push(standing.id.clone());
        }
    }
    for workload in wanted.into_iter().filter(|workload| workload.replicas > 0) {
        let standing: Vec<_> = serving.iter().filter(|standing| standing.id.process == workload.id.process).collect();
        match standing.as_slice() {
            [one] if one.size == workload.size => {
                if one.replicas != workload.replicas {
                    plan.resize.push((one.id.clone(), workload.replicas));
                }
            }
            others => {
                plan.retire.extend(others.iter().map(|standing| standing.id.clone()));
                plan.raise.push(workload);
            }
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::server::domain::Stack;
    use crate::server::domain::{AppName, HealthCheck, ProcessType, ReleaseVersion, Size, SlugDigest};

    fn workload(process: &str, generation: i64, replicas: u32, milli: u32) -> Workload {
        Workload {
            id: WorkloadId {
                app: AppName::parse("shop").unwrap(),
                process: ProcessType::parse(process).unwrap(),
                generation,
            },
            release: ReleaseVersion(1),
            replicas,
            slug: SlugDigest::parse(&"a".repeat(64)).unwrap(),
            stack: Stack::local(),
            command: "run".to_owned(),
            env: BTreeMap::new(),
            size: Size::from_milli(milli),
            health: HealthCheck::Tcp,
        }
    }

    fn shown(plan: &Plan) -> String {
        let raise = plan.raise.iter().map(|w| format!("+{}-{}x{}", w.id.process, w.id.generation, w.replicas));
        let resize = plan.resize.iter().map(|(id, to)| format!("{}-{}x{to}", id.process, id.generation));
        let retire = plan.retire.iter().map(|id| format!("-{}-{}", id.process, id.generation));
        raise.chain(resize).chain(retire).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn renewing_puts_everything_wanted_beside_everything_standing() {
        let old = [workload("web", 1, 2, 500), workload("worker", 1, 1, 500)];
        for (serving, wanted, plan) in [
            (&old[..0], vec![workload("web", 2, 1, 500)], "+web-2x1"),
            (
                &old[..],
                vec![workload("web", 2, 2, 500), workload("clock", 2, 1, 500)],
                "+web-2x2 +clock-2x1 -web-1 -worker-1",
            ),
            (&old[..], vec![workload("web", 2, 0, 500)], "-web-1 -worker-1"),
        ] {
            assert_eq!(shown(&renew(serving, wanted)), plan);
        }
    }

    #[test]
    fn rescaling_makes_anew_only_what_it_must() {
        let old = [workload("web", 1, 2, 500), workload("worker", 1, 1, 500)];
        let worker = || workload("worker", 9, 1, 500);
        for (serving, wanted, plan) in [
            (&old[..], vec![workload("web", 9, 2, 500), worker()], ""),
            (&old[..], vec![workload("web", 9, 5, 500), worker()], "web-1x5"),
            (&old[..], vec![workload("web", 9, 1, 500), workload("worker", 9, 0, 500)], "web-1x1 -worker-1"),
            (&old[..], vec![workload("web", 9, 0, 500), worker()], "-web-1"),
            (
                &old[..],
                vec![workload("web", 9, 2, 900), workload("worker", 9, 1, 900)],
                "+web-9x2 +worker-9x1 -web-1 -worker-1",
            ),
            (&old[1..], vec![workload("web", 9, 3, 500), worker()], "+web-9x3"),
            (&old[..0], vec![workload("web", 9, 0, 500)], ""),
        ] {
            assert_eq!(shown(&rescale(serving, wanted)), plan);
        }
    }
}
