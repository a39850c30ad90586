//! From what stands and what is ready to where visitors are led. Pure.

use crate::server::domain::{Backend, Instance, InstanceState, RouteState, Workload};

/// The state of one app's route. `web` is its serving generations of the process type `web` (one, but for the instant
/// of a swap), `deployed` whether its live release has code.
pub(super) fn route_state<'a>(
    deployed: bool,
    web: impl Iterator<Item = &'a Workload> + Clone,
    instances: impl Iterator<Item = &'a Instance> + Clone,
) -> RouteState {
    if !deployed {
        return RouteState::NothingDeployed;
    }
    if web.clone().all(|workload| workload.replicas == 0) {
        return RouteState::ScaledToZero;
    }
    let mut backends: Vec<Backend> = web.flat_map(|workload| backends(workload, instances.clone())).collect();
    if backends.is_empty() {
        return RouteState::Failing;
    }
    // The same set is the same route, whatever the order of events was.
    backends.sort_by(|a, b| a.name.cmp(&b.name));
    RouteState::Serving(backends)
}

/// The ready instances within the wished number; those beyond it are about to go and get no new visitors, unless
/// nobody else could serve them.
fn backends<'a>(workload: &Workload, instances: impl Iterator<Item = &'a Instance> + Clone) -> Vec<Backend> {
    let ready = instances.filter(|instance| instance.workload == workload.id && instance.state == InstanceState::Ready);
    let within: Vec<_> =
        ready.clone().filter(|instance| instance.index <= workload.replicas).filter_map(backend).collect();
    if within.is_empty() { ready.filter_map(backend).collect() } else { within }
}

/// An instance as the router knows it.
pub(super) fn backend(instance: &Instance) -> Option<Backend> {
    instance.address.map(|address| Backend { name: instance.name.clone(), address })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::server::domain::Stack;
    use crate::server::domain::{AppName, HealthCheck, ProcessType, ReleaseVersion, Size, SlugDigest, WorkloadId};

    fn web(generation: i64, replicas: u32) -> Workload {
        Workload {
            id: WorkloadId { app: AppName::parse("shop").unwrap(), process: ProcessType::web(), generation },
            release: ReleaseVersion(1),
            replicas,
            slug: SlugDigest::parse(&"a".repeat(64)).unwrap(),
            stack: Stack::local(),
            command: "run".to_owned(),
            arguments: Vec::new(),
            env: BTreeMap::new(),
            size: Size::from_milli(500),
            health: HealthCheck::Tcp,
            lifetime: crate::server::domain::Lifetime::Service,
        }
    }

    fn instance(generation: i64, index: u32, state: InstanceState) -> Instance {
        Instance {
            name: format!("{generation}.{index}"),
            workload: web(generation, 1).id,
            release: ReleaseVersion(1),
            size: Size::from_milli(500),
            index,
            state,
            node: None,
            machine: None,
            address: Some(([127, 0, 0, 1], 1000 + index as u16).into()),
            restarts: 0,
            started_at: None,
            last_exit: None,
            trouble: None,
        }
    }

    #[test]
    fn visitors_are_led_to_ready_replicas_within_the_wish() {
        use InstanceState::{Crashed, Ready, Starting};
        let all = |states: &[InstanceState]| -> Vec<Instance> {
            states.iter().zip(1..).map(|(state, index)| instance(1, index, *state)).collect()
        };
        let shown = |state: &RouteState| match state {
            RouteState::Serving(backends) => backends.iter().map(|b| b.name.as_str()).collect::<Vec<_>>().join(" "),
            other => format!("{other:?}"),
        };
        for (deployed, replicas, states, wanted) in [
            (false, 1, &[Ready][..], "NothingDeployed"),
            (true, 0, &[Ready][..], "ScaledToZero"),
            (true, 2, &[Ready, Ready][..], "1.1 1.2"),
            (true, 2, &[Starting, Ready][..], "1.2"),
            (true, 2, &[Starting, Crashed][..], "Failing"),
            (true, 1, &[Ready, Ready, Ready][..], "1.1"),
            (true, 1, &[Crashed, Ready, Ready][..], "1.2 1.3"),
        ] {
            let instances = all(states);
            let workloads = [web(1, replicas)];
            let state = route_state(deployed, workloads.iter(), instances.iter());
            assert_eq!(shown(&state), wanted, "{states:?} of {replicas}");
        }
        let strangers = [instance(2, 1, Ready)];
        assert_eq!(route_state(true, [web(1, 1)].iter(), strangers.iter()), RouteState::Failing);
    }
}
