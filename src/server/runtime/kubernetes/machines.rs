//! The cluster's nodes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, NodeCondition};
use kube::Api;
use kube::api::ListParams;

use super::cluster::{Cluster, patiently};
use super::quantity::{Quantities, cpu_milli, memory_bytes};
use crate::server::domain::{Condition, Machine, Resources};
use crate::server::runtime::RuntimeError;

/// All of them, by name.
pub(super) async fn list(cluster: &Cluster) -> Result<Vec<Machine>, RuntimeError> {
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let all = ListParams::default();
    let found = patiently("listing nodes", || nodes.list(&all)).await?;
    let mut all: Vec<_> = found.items.iter().filter_map(machine).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

fn machine(node: &Node) -> Option<Machine> {
    let status = node.status.as_ref();
    let spec = node.spec.as_ref();
    let info = status.and_then(|status| status.node_info.as_ref());
    let versions = info.map_or_else(BTreeMap::new, |info| {
        [
            ("os", &info.os_image),
            ("kernel", &info.kernel_version),
            ("kubelet", &info.kubelet_version),
            ("runtime", &info.container_runtime_version),
        ]
        .map(|(name, version)| (name, version.clone()))
        .into()
    });
    let mut conditions: Vec<_> =
        status.and_then(|status| status.conditions.as_ref()).into_iter().flatten().map(condition).collect();
    let ready = conditions.iter().any(|one| one.kind == "Ready" && !one.bad);
    let cordoned = spec.and_then(|spec| spec.unschedulable) == Some(true);
    // What keeps pods away that do not say that they bear it: ours do not.
    let taints = spec.and_then(|spec| spec.taints.as_ref()).into_iter().flatten();
    let taints: Vec<_> = taints.filter(|taint| taint.effect != "PreferNoSchedule").collect();
    conditions.extend(taints.iter().filter(|taint| !taint.key.starts_with("node.kubernetes.io/")).map(|taint| {
        let value = taint.value.as_deref().map(|value| format!("={value}")).unwrap_or_default();
        let message = format!("{}{value}:{}", taint.key, taint.effect);
        Condition { kind: "Tainted".to_owned(), status: "True".to_owned(), bad: true, message }
    }));
    Some(Machine {
        name: node.metadata.name.clone()?,
        ready,
        schedulable: ready && !cordoned && taints.is_empty(),
        versions,
        capacity: resources(status.and_then(|status| status.capacity.as_ref())),
        allocatable: resources(status.and_then(|status| status.allocatable.as_ref())),
        conditions,
    })
}

/// Of all conditions that nodes have, `Ready` is the one that should be.
fn condition(told: &NodeCondition) -> Condition {
    Condition {
        kind: told.type_.clone(),
        status: told.status.clone(),
        bad: (told.type_ == "Ready") != (told.status == "True"),
        message: told.message.clone().or_else(|| told.reason.clone()).unwrap_or_default(),
    }
}

fn resources(told: Option<&Quantities>) -> Resources {
    let (cpu_milli, memory_bytes) = (told.and_then(cpu_milli), told.and_then(memory_bytes));
    Resources { cpu_milli: cpu_milli.unwrap_or_default(), memory_bytes: memory_bytes.unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_says_what_is_wrong_with_it() {
        let node = |spec: serde_json::Value, ready: &str| {
            machine(
                &serde_json::from_value(json!({
                    "metadata": {"name": "node-1"}, "spec": spec,
                    "status": {
                        "capacity": {"cpu": "2", "memory": "24689144Ki"},
                        "allocatable": {"cpu": "1900m", "memory": "24586744Ki"},
                        "conditions": [
                            {"type": "MemoryPressure", "status": "False", "reason": "KubeletHasSufficientMemory"},
                            {"type": "Ready", "status": ready, "reason": "KubeletReady", "message": "kubelet is posting"},
                        ],
                    },
                }))
                .unwrap(),
            )
            .unwrap()
        };
        let bad = |machine: &Machine| {
            let bad = machine.conditions.iter().filter(|one| one.bad);
            bad.map(|one| format!("{} {}", one.kind, one.message)).collect::<Vec<_>>()
        };
        let well = node(json!({}), "True");
        assert_eq!((well.ready, well.schedulable, bad(&well)), (true, true, vec![]));
        assert_eq!((well.capacity.cpu_milli, well.allocatable.cpu_milli), (2000, 1900));
        assert_eq!(well.capacity.memory_bytes, 24_689_144 << 10);
        let lost = node(json!({}), "Unknown");
        assert_eq!(
            (lost.ready, lost.schedulable, bad(&lost)),
            (false, false, vec!["Ready kubelet is posting".to_owned()])
        );
        let cordoned = json!({
            "unschedulable": true, "taints": [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}],
        });
        let cordoned = node(cordoned, "True");
        assert_eq!((cordoned.ready, cordoned.schedulable, bad(&cordoned)), (true, false, vec![]));
        let tainted = node(json!({"taints": [{"key": "gpu", "value": "a", "effect": "NoExecute"}]}), "True");
        assert_eq!((tainted.schedulable, bad(&tainted)), (false, vec!["Tainted gpu=a:NoExecute".to_owned()]));
    }
}
