//! What a pod says of itself: pure.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod};

use super::names::{self, CONTAINER, HEALTH, Told, UPTIME};
use super::spec::PORT;
use crate::server::domain::{Exit, ExitReason, HealthCheck, Instance, InstanceState, ReleaseVersion};
use crate::server::runtime::erlang::NODE_PORT;

/// As a shell says: found, but could not be run.
const CANNOT_RUN: i32 = 126;
/// What the init writes for why it ended its program.
const TIMED_OUT: &str = "TimedOut";
/// What a node says of a container that it does not find any more and of whose end it has not heard,
const UNKNOWN: &str = "ContainerStatusUnknown";
/// and of one that it has not made, or not any more.
const NOT_THERE: &str = "ContainerCreating";
/// Reasons of a container that waits, after which nothing will come of it by itself.
const HOPELESS: &[&str] = &[
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ImageInspectError",
    "ImagePullBackOff",
    "InvalidImageName",
    "RunContainerError",
];

/// A pod as it was seen.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    /// `Starting` as long as only its health check can tell.
    pub(super) instance: Instance,
    pub(super) health: HealthCheck,
    /// Where its health can be asked.
    pub(super) at: Option<SocketAddr>,
    /// The container that runs, or has run last.
    pub(super) run: Option<String>,
    /// The one before.
    pub(super) earlier: Option<String>,
    /// Its container runs.
    pub(super) runs: bool,
    /// The cluster finds it ready.
    pub(super) ready: bool,
    /// Its node says nothing any more; what its container does there, nobody knows.
    pub(super) is_lost: bool,
    /// Why it cannot be started, in the cluster's words.
    pub(super) cannot_start: Option<String>,
    /// Its last run has ended. A pod may be listed for seconds after that: what is left of it is the cluster's to clear up.
    pub(super) is_over: bool,
    /// It will never run again, and nobody has asked it to go.
    pub(super) is_spent: bool,
}

impl Seen {
    /// The same, of a release that the pod itself does not know.
    pub(super) fn of(mut self, release: Option<ReleaseVersion>) -> Self {
        self.instance.release = release.unwrap_or(self.instance.release);
        self
    }

    /// Whether nothing of the replica is left, though its pod may be listed for a while.
    pub(super) fn is_gone(&self) -> bool {
        self.is_over && self.instance.state == InstanceState::Stopping
    }
}

/// Reads a pod; `None` if it is not ours.
pub(super) fn observe(pod: &Pod) -> Option<Seen> {
    let Told { id, index, release, size } = names::told(&pod.metadata)?;
    let status = pod.status.as_ref();
    let container = status.and_then(|status| {
        let all = status.container_statuses.as_ref()?;
        all.iter().find(|one| one.name == CONTAINER)
    });
    let state = container.and_then(|one| one.state.as_ref());
    let (running, ended) = (state.and_then(|s| s.running.as_ref()), state.and_then(|s| s.terminated.as_ref()));
    let before = container.and_then(|one| one.last_state.as_ref()?.terminated.as_ref());
    let service = pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()) != Some("Never");
    let stopping = pod.metadata.deletion_timestamp.is_some();
    let failed = status.and_then(|status| status.phase.as_deref()) == Some("Failed");
    let cannot_start = state.and_then(hopeless);
    let waits_for = state.and_then(|state| state.waiting.as_ref()?.reason.as_deref());
    let state = match () {
        () if stopping => InstanceState::Stopping,
        () if !service && (ended.is_some() || failed) => InstanceState::Ended,
        () if ended.is_some() || waits_for == Some("CrashLoopBackOff") || cannot_start.is_some() => {
            InstanceState::Crashed
        }
        () => InstanceState::Starting,
    };
    let created = pod.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let last_exit = match (ended.or(before).map(|one| exit(one, created)), &cannot_start) {
        (None, Some(_)) => Some(Exit { code: CANNOT_RUN, reason: ExitReason::Error, at: created }),
        (None, None) if failed => Some(Exit { code: 137, reason: ExitReason::Lost, at: created }),
        (exit, _) => exit,
    };
    let ip: Option<IpAddr> = status.and_then(|status| status.pod_ip.as_deref()?.parse().ok());
    // A node may clear up what has ended before it looks how it did. What has run and is not there will not be made again.
    let vanished = stopping && before.is_some() && waits_for == Some(NOT_THERE);
    let instance = Instance {
        name: pod.metadata.name.clone()?,
        workload: id,
        release,
        size,
        index,
        state,
        address: None,
        node: ip.map(|ip| SocketAddr::new(ip, NODE_PORT)),
        machine: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        restarts: container.map_or(0, |one| u32::try_from(one.restart_count).unwrap_or_default()),
        started_at: running
            .and_then(|r| Some(r.started_at.as_ref()?.0))
            .or_else(|| Some(ended?.started_at.as_ref()?.0)),
        last_exit,
        trouble: None,
    };
    Some(Seen {
        health: health(pod),
        at: ip.map(|ip| SocketAddr::new(ip, PORT)),
        run: container.and_then(|one| run(one, ended)),
        earlier: before.and_then(|one| one.container_id.clone()),
        runs: running.is_some(),
        ready: container.is_some_and(|one| one.ready),
        is_lost: is_lost(pod),
        cannot_start,
        is_over: vanished || ended.is_some() && (stopping || !service),
        is_spent: service && failed && !stopping,
        instance,
    })
}

/// A pod's own word ends with its node's. Then the cluster takes its readiness from it, and leaves its containers' as it was
/// heard last.
fn is_lost(pod: &Pod) -> bool {
    let status = |kind: &str| {
        let all = pod.status.as_ref()?.conditions.as_ref()?;
        all.iter().find(|one| one.type_ == kind).map(|one| one.status.as_str())
    };
    status("Ready") == Some("False") && status("ContainersReady") == Some("True")
}

/// The container's own id: another one for each run.
fn run(container: &ContainerStatus, ended: Option<&ContainerStateTerminated>) -> Option<String> {
    let waits = container.state.as_ref().is_some_and(|state| state.waiting.is_some());
    let id = ended.and_then(|ended| ended.container_id.clone()).or_else(|| container.container_id.clone());
    id.filter(|id| !id.is_empty() && !waits)
}

pub(super) fn hopeless(state: &ContainerState) -> Option<String> {
    let waiting = state.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().filter(|reason| HOPELESS.contains(reason))?;
    let message = waiting.message.as_deref().unwrap_or_default();
    Some(if message.is_empty() { reason.to_owned() } else { format!("{message} ({reason})") })
}

fn exit(ended: &ContainerStateTerminated, created: Timestamp) -> Exit {
    let reason = match ended.reason.as_deref() {
        _ if ended.message.as_deref().map(str::trim) == Some(TIMED_OUT) => ExitReason::TimedOut,
        _ if ended.exit_code == 0 => ExitReason::Completed,
        Some("OOMKilled") => ExitReason::OOMKilled,
        Some(UNKNOWN) => ExitReason::Lost,
        _ => ExitReason::Error,
    };
    let at = ended.finished_at.as_ref().map_or(created, |time| time.0);
    Exit { code: ended.exit_code, reason, at }
}

/// As it was wished when the pod was made.
fn health(pod: &Pod) -> HealthCheck {
    let note = |name: &str| pod.metadata.annotations.as_ref()?.get(name).cloned();
    match (note(UPTIME).and_then(|millis| millis.parse().ok()), note(HEALTH)) {
        (Some(millis), _) => HealthCheck::Uptime(Duration::from_millis(millis)),
        (None, Some(path)) => HealthCheck::Http(path),
        (None, None) => HealthCheck::Tcp,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A pod as a cluster shows it, with this container status.
    fn seen(change: impl FnOnce(&mut Value)) -> Seen {
        let mut pod = json!({
            "metadata": {
                "name": "shop-web-7-2-abc-xyz", "namespace": "shop", "creationTimestamp": "2026-11-26T01:00:00Z",
                "labels": {"gigalixir.app": "shop", "gigalixir.index": "2"},
                "annotations": {
                    "gigalixir.process": "web", "gigalixir.generation": "7", "gigalixir.release": "3",
                    "gigalixir.size": "500",
                },
            },
            "spec": {"containers": [], "restartPolicy": "Always"},
            "status": {"phase": "Running", "podIP": "10.1.2.3", "containerStatuses": [{
                "name": "app", "image": "i", "imageID": "i", "ready": false, "restartCount": 0,
                "containerID": "containerd://2", "state": {"running": {"startedAt": "2026-11-26T01:00:02Z"}},
            }]},
        });
        change(&mut pod);
        observe(&serde_json::from_value(pod).unwrap()).unwrap()
    }

    fn container(state: Value) -> impl FnOnce(&mut Value) {
        move |pod| pod["status"]["containerStatuses"][0]["state"] = state
    }

    fn ended(code: i32, reason: &str) -> Value {
        json!({"terminated": {
            "exitCode": code, "reason": reason, "containerID": "containerd://2",
            "startedAt": "2026-11-26T01:00:02Z", "finishedAt": "2026-11-26T01:00:09Z",
        }})
    }

    fn end(seen: &Seen) -> Option<(i32, ExitReason)> {
        seen.instance.last_exit.as_ref().map(|exit| (exit.code, exit.reason))
    }

    #[test]
    fn what_runs_is_asked_whether_it_is_ready() {
        let one = seen(|_| {});
        assert_eq!((one.instance.index, one.instance.workload.generation, one.instance.release.0), (2, 7, 3));
        assert_eq!((one.instance.state, one.runs, one.ready), (InstanceState::Starting, true, false));
        assert_eq!((one.at, one.run.as_deref()), (Some("10.1.2.3:4000".parse().unwrap()), Some("containerd://2")));
        assert_eq!((one.health, end(&seen(|_| {}))), (HealthCheck::Tcp, None));
        let told = seen(|pod| pod["metadata"]["annotations"]["gigalixir.uptime"] = "1500".into());
        assert_eq!(told.health, HealthCheck::Uptime(Duration::from_millis(1500)));
        let going = seen(|pod| pod["metadata"]["deletionTimestamp"] = "2026-11-26T01:10:00Z".into());
        assert_eq!((going.instance.state, going.is_over), (InstanceState::Stopping, false));
        let gone = seen(|pod| {
            pod["metadata"]["deletionTimestamp"] = "2026-11-26T01:10:00Z".into();
            container(ended(0, "Completed"))(pod);
        });
        assert!(gone.is_over);
        let waits = |before: Option<Value>| {
            seen(|pod| {
                pod["metadata"]["deletionTimestamp"] = "2026-11-26T01:10:00Z".into();
                container(json!({"waiting": {"reason": "ContainerCreating"}}))(pod);
                if let Some(before) = before {
                    pod["status"]["containerStatuses"][0]["lastState"] = before;
                }
            })
        };
        assert!(!waits(None).is_over, "it may be under way");
        let vanished = json!({"terminated": {
            "exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": null, "finishedAt": null,
            "message": "The container could not be located when the pod was deleted.",
        }});
        let vanished = waits(Some(vanished));
        assert!(vanished.is_over && vanished.is_gone());
        assert_eq!(end(&vanished), Some((137, ExitReason::Lost)));
    }

    #[test]
    fn ends_have_a_code_and_a_reason() {
        for (code, reason, wanted) in [
            (0, "Completed", ExitReason::Completed),
            (3, "Error", ExitReason::Error),
            (137, "OOMKilled", ExitReason::OOMKilled),
        ] {
            let one = seen(container(ended(code, reason)));
            assert_eq!((one.instance.state, end(&one)), (InstanceState::Crashed, Some((code, wanted))), "{reason}");
        }
        let once = seen(|pod| {
            pod["spec"]["restartPolicy"] = "Never".into();
            pod["status"]["containerStatuses"][0]["state"] = ended(143, "Error");
            pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"] = "TimedOut\n".into();
        });
        assert_eq!((once.instance.state, end(&once)), (InstanceState::Ended, Some((143, ExitReason::TimedOut))));
        let again = seen(|pod| {
            let container = &mut pod["status"]["containerStatuses"][0];
            container["lastState"] = ended(3, "Error");
            container["lastState"]["terminated"]["containerID"] = "containerd://1".into();
            container["restartCount"] = 1.into();
        });
        assert_eq!((again.instance.state, again.instance.restarts), (InstanceState::Starting, 1));
        assert_eq!((end(&again), again.earlier.as_deref()), (Some((3, ExitReason::Error)), Some("containerd://1")));
    }

    #[test]
    fn what_waits_says_why() {
        let back_off = seen(|pod| {
            container(json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}))(pod);
            pod["status"]["containerStatuses"][0]["lastState"] = ended(3, "Error");
        });
        assert_eq!((back_off.instance.state, back_off.run), (InstanceState::Crashed, None));
        let pulls = seen(container(json!({"waiting": {"reason": "ContainerCreating"}})));
        assert_eq!((pulls.instance.state, pulls.cannot_start), (InstanceState::Starting, None));
        let missing = json!({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image \"x\""}});
        let missing = seen(container(missing));
        assert_eq!(missing.cannot_start.as_deref(), Some("Back-off pulling image \"x\" (ImagePullBackOff)"));
        assert_eq!(missing.instance.last_exit.map(|exit| exit.code), Some(CANNOT_RUN));
        let evicted = seen(|pod| {
            pod["status"] = json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on memory."});
        });
        assert!(evicted.is_spent && !evicted.runs);
        let conditions = |ready: &str, containers: &str| {
            let all = json!([{"type": "Ready", "status": ready}, {"type": "ContainersReady", "status": containers}]);
            seen(|pod| pod["status"]["conditions"] = all).is_lost
        };
        assert!(conditions("False", "True") && !conditions("False", "False") && !conditions("True", "True"));
    }

    #[test]
    fn what_others_made_is_not_ours() {
        assert_eq!(observe(&Pod::default()), None);
    }
}
