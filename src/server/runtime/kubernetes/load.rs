//! What replicas take: one list of the cluster's own metrics tells of all. Those that it does not name, and all where a
//! cluster has no metrics, are told of by their own control groups, which a program in the pod reads.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{ListParams, Request};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::cluster::shown;
use super::exec;
use super::names::CONTAINER;
use super::quantity::{Quantities, cpu_milli, memory_bytes};
use super::shared::Shared;
use crate::server::runtime::{Cpu, Load, RuntimeError};

/// Pods as `metrics.k8s.io` tells of them.
const METRICS: &str = "/apis/metrics.k8s.io/v1beta1/pods";
/// A list serves all who ask within so long; what it says is older than that anyhow.
const FRESH: Duration = Duration::from_secs(5);
/// For a list, or for a pod's answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Where a container finds its own group.
const GROUP: &str = "/sys/fs/cgroup/";
/// Prints `FILE:LINE` of every line of these files, as far as they are there: version 2, then version 1.
const COUNTS: [&str; 9] = [
    "grep",
    "-sH",
    "",
    "/sys/fs/cgroup/memory.current",
    "/sys/fs/cgroup/memory.stat",
    "/sys/fs/cgroup/cpu.stat",
    "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    "/sys/fs/cgroup/memory/memory.stat",
    "/sys/fs/cgroup/cpuacct/cpuacct.usage",
];

pub(super) struct Loads {
    shared: Arc<Shared>,
    listed: Mutex<Option<Listed>>,
}

/// What the cluster has said of all pods of this server; nothing, if it could not.
struct Listed {
    at: Instant,
    pods: HashMap<String, Load>,
}

impl Loads {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, listed: Mutex::default() }
    }

    /// What the replica in a pod takes.
    pub(super) async fn of(&self, pods: &Api<Pod>, name: &str) -> Result<Option<Load>, RuntimeError> {
        if let Some(load) = self.listed(name).await {
            return Ok(Some(load));
        }
        let late = |_| RuntimeError::Unavailable(format!("{name} does not say in time what it takes"));
        let said = timeout(ANSWER, exec::said(pods, name, COUNTS)).await.map_err(late)??;
        Ok(counted(&said))
    }

    async fn listed(&self, name: &str) -> Option<Load> {
        let mut listed = self.listed.lock().await;
        match &*listed {
            Some(list) if list.at.elapsed() < FRESH => list.pods.get(name).copied(),
            _ => {
                let pods = self.list().await;
                listed.insert(Listed { at: Instant::now(), pods }).pods.get(name).copied()
            }
        }
    }

    async fn list(&self) -> HashMap<String, Load> {
        let client = &self.shared.cluster.client;
        let ask = async {
            let ours = ListParams::default().labels(&self.shared.cluster.ours());
            let request = Request::new(METRICS).list(&ours).map_err(kube::Error::BuildRequest)?;
            client.request::<PodMetricsList>(request).await
        };
        match timeout(ANSWER, ask).await {
            Ok(Ok(list)) => list.loads().collect(),
            Ok(Err(error)) => {
                tracing::debug!("the cluster has no metrics, pods are asked one by one: {}", shown(&error));
                HashMap::new()
            }
            Err(_) => {
                tracing::debug!("the cluster's metrics do not come, pods are asked one by one");
                HashMap::new()
            }
        }
    }
}

#[derive(Debug, Deserialize)]
struct PodMetricsList {
    items: Vec<PodMetrics>,
}

#[derive(Debug, Deserialize)]
struct PodMetrics {
    metadata: ObjectMeta,
    containers: Vec<ContainerMetrics>,
}

#[derive(Debug, Deserialize)]
struct ContainerMetrics {
    name: String,
    usage: Quantities,
}

impl PodMetricsList {
    /// By pod. What others put beside a replica into its pod is not the app's.
    fn loads(self) -> impl Iterator<Item = (String, Load)> {
        self.items.into_iter().filter_map(|pod| {
            let container = pod.containers.into_iter().find(|one| one.name == CONTAINER)?;
            let milli = cpu_milli(&container.usage).and_then(|milli| u32::try_from(milli).ok());
            Some((pod.metadata.name?, Load { memory: memory_bytes(&container.usage)?, cpu: milli.map(Cpu::Milli) }))
        })
    }
}

/// What a control group's files say.
fn counted(said: &str) -> Option<Load> {
    let lines = || said.lines().filter_map(|line| line.strip_prefix(GROUP));
    let value = |what: &str| lines().find_map(|line| line.strip_prefix(what)?.parse::<u64>().ok());
    let first = |all: [&str; 2]| all.into_iter().find_map(value);
    let used = first(["memory.current:", "memory/memory.usage_in_bytes:"])?;
    let cache = first(["memory.stat:inactive_file ", "memory/memory.stat:total_inactive_file "]).unwrap_or(0);
    let micros = value("cpu.stat:usage_usec ").map(Duration::from_micros);
    let time = micros.or_else(|| value("cpuacct/cpuacct.usage:").map(Duration::from_nanos));
    Some(Load { memory: used.saturating_sub(cache), cpu: time.map(Cpu::Time) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_control_groups_are_read() {
        let time = |millis| Some(Cpu::Time(Duration::from_millis(millis)));
        let second = "/sys/fs/cgroup/memory.current:5000\n/sys/fs/cgroup/memory.stat:anon 1\n\
             /sys/fs/cgroup/memory.stat:inactive_file 1000\n/sys/fs/cgroup/cpu.stat:usage_usec 2000000\n";
        assert_eq!(counted(second), Some(Load { memory: 4000, cpu: time(2000) }));
        let first = "/sys/fs/cgroup/memory/memory.usage_in_bytes:5000\n\
             /sys/fs/cgroup/memory/memory.stat:inactive_file 1\n\
             /sys/fs/cgroup/memory/memory.stat:total_inactive_file 2000\n/sys/fs/cgroup/cpuacct/cpuacct.usage:3000000\n";
        assert_eq!(counted(first), Some(Load { memory: 3000, cpu: time(3) }));
        // The group of the whole machine has no limit and counts no memory of its own.
        assert_eq!(counted("/sys/fs/cgroup/cpu.stat:usage_usec 2000000\n"), None);
        assert_eq!(counted(""), None);
    }

    #[test]
    fn what_others_put_into_a_pod_does_not_count() {
        let list = |memory: &str| {
            let usage = serde_json::json!({"cpu": "156340091n", "memory": memory});
            let containers = [
                serde_json::json!({"name": "mesh", "usage": {"cpu": "1", "memory": "1Gi"}}),
                serde_json::json!({"name": "app", "usage": usage}),
            ];
            let pod = serde_json::json!({
                "metadata": {"name": "shop-web-7-1-abc", "namespace": "shop", "creationTimestamp": "2026-11-26T10:00:00Z"},
                "timestamp": "2026-11-26T10:00:00Z", "window": "15.3s", "containers": containers,
            });
            let list: PodMetricsList = serde_json::from_value(serde_json::json!({"items": [pod]})).unwrap();
            list.loads().collect::<Vec<_>>()
        };
        let load = Load { memory: 29500 << 10, cpu: Some(Cpu::Milli(156)) };
        assert_eq!(list("29500Ki"), [("shop-web-7-1-abc".to_owned(), load)]);
        assert_eq!(list("much"), []);
    }
}
