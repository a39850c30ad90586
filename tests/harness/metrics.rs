//! Metrics for a cluster that has none: an API service that leads to `metrics.py`, for as long as a test needs it.

use std::net::IpAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gigalixir::server::runtime::kubernetes::Kubernetes;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::cluster::Cluster;
use super::pebble::free_ports;
use super::wait_until;

const SERVICE: &str = "v1beta1.metrics.k8s.io";
const PATH: &str = "/apis/metrics.k8s.io/v1beta1";
const NAMESPACE: &str = "gigalixir-test-metrics";

/// The cluster's metrics, until dropped.
pub struct Metrics<'a> {
    cluster: &'a Cluster,
    folder: TempDir,
    child: Child,
}

impl<'a> Metrics<'a> {
    /// Whether a cluster has metrics of its own.
    pub fn are_there(cluster: &Cluster) -> bool {
        let label = format!("jsonpath={{.metadata.labels.{NAMESPACE}}}");
        let found = cluster.kubectl(&["get", "apiservice", SERVICE, "-o", &label]);
        found.status.success() && found.stdout.is_empty()
    }

    /// From now on the cluster tells what its pods take.
    pub fn start(cluster: &'a Cluster) -> Self {
        let asked = Kubernetes::own_address(Some(&cluster.kubeconfig), None);
        let own = tokio::runtime::Runtime::new().expect("runtime").block_on(asked).expect("answer").expect("address");
        let ([port], folder) = (free_ports(), tempfile::tempdir().expect("folder"));
        let made = rcgen::generate_simple_self_signed(vec![own.to_string()]).expect("certificate");
        let at = |name: &str| folder.path().join(name);
        for (name, text) in [
            ("metrics.py", include_str!("metrics.py").to_owned()),
            ("cert.pem", made.cert.pem()),
            ("key.pem", made.signing_key.serialize_pem()),
        ] {
            std::fs::write(at(name), text).expect("write");
        }
        let mut command = Command::new("python3");
        command.args([at("metrics.py")]).args([own.to_string(), port.to_string()]);
        command.args([at("cert.pem"), at("key.pem"), cluster.kubeconfig.clone(), at("log")]);
        let child = command.stdout(Stdio::null()).spawn().expect("python3");
        let metrics = Self { cluster, folder, child };
        cluster.apply(&service(own, port));
        // An API server that finds something else there holds on to that.
        wait_until("the service leads there", Duration::from_secs(60), || {
            let ip = ["get", "service", "metrics", "-n", NAMESPACE, "-o", "jsonpath={.spec.clusterIP}"];
            let ip = String::from_utf8_lossy(&cluster.kubectl(&ip).stdout).into_owned();
            let url = format!("https://{ip}{PATH}");
            let asked = Command::new("curl").args(["-sk", "--noproxy", "*", "-m", "5", &url]).output();
            asked.expect("curl").stdout.starts_with(b"{\"kind\": \"APIResourceList\"")
        });
        cluster.apply(&api_service());
        wait_until("the cluster has metrics", Duration::from_secs(60), || {
            cluster.kubectl(&["get", "--raw", &format!("{PATH}/pods")]).status.success()
        });
        metrics
    }

    /// What was told of a pod so far: its container's usage, as it was written.
    pub fn told(&self, pod: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lists = text.lines().filter_map(|line| serde_json::from_str::<Vec<Value>>(line).ok());
        let of = |one: &Value| one["metadata"]["name"] == pod;
        lists.flatten().filter(of).map(|one| one["containers"][0]["usage"].clone()).collect()
    }
}

/// A service that leads out of the cluster.
fn service(own: IpAddr, port: u16) -> Value {
    let meta = json!({"name": "metrics", "namespace": NAMESPACE});
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {
            "apiVersion": "v1", "kind": "Service", "metadata": meta,
            "spec": {"ports": [{"name": "https", "port": 443, "targetPort": port, "protocol": "TCP"}]},
        },
        {
            "apiVersion": "v1", "kind": "Endpoints", "metadata": meta,
            "subsets": [{
                "addresses": [{"ip": own.to_string()}],
                "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
            }],
        },
    ]})
}

/// What has the API server ask there.
fn api_service() -> Value {
    json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": SERVICE, "labels": {NAMESPACE: "yes"}},
        "spec": {
            "group": "metrics.k8s.io", "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100,
            "insecureSkipTLSVerify": true, "service": {"name": "metrics", "namespace": NAMESPACE, "port": 443},
        },
    })
}

/// An API service that leads nowhere would keep namespaces from going.
impl Drop for Metrics<'_> {
    fn drop(&mut self) {
        self.cluster.kubectl(&["delete", "apiservice", SERVICE]);
        self.cluster.kubectl(&["delete", "namespace", NAMESPACE]);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
