//! The Kubernetes runtime on trial, on a real cluster: the contract, and what only it promises.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use gigalixir::server::domain::*;
use gigalixir::server::runtime::kubernetes::{Kubernetes, KubernetesConfig};
use gigalixir::server::runtime::session::Command;
use gigalixir::server::runtime::{InstanceEvent, Runtime, RuntimeError, SlugAddresses};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::harness::{cluster::Cluster, docker::image, registry::Registry};
use crate::runtime_contract::{Folder, Stage, collect, inside, job, logged, ready, until, web};

crate::runtime_contract!(OnKubernetes);

struct OnKubernetes {
    cluster: Cluster,
    kubeconfig: PathBuf,
    data: TempDir,
    kubernetes: Option<Arc<Kubernetes>>,
    /// Stacks beside the usual ones, and what their registry wants to be signed in with.
    images: Vec<(&'static str, String)>,
    registries: Option<String>,
    slugs: Arc<Served>,
    log: Arc<Mutex<Vec<LogLine>>>,
}

impl OnKubernetes {
    fn dir(&self) -> PathBuf {
        self.data.path().join("kubernetes")
    }

    fn namespace(&self, app: &str) -> String {
        format!("{}-{app}", unique(self.data.path()))
    }

    async fn start(&mut self) {
        let config = KubernetesConfig {
            kubeconfig: Some(self.kubeconfig.clone()),
            context: None,
            dir: self.dir(),
            namespace_prefix: format!("{}-", unique(self.data.path())),
            images: [("debian-12", image()), ("missing", "localhost/no-such-image:1".to_owned())]
                .into_iter()
                .chain(self.images.clone())
                .map(|(stack, image)| (Stack::parse(stack).unwrap(), image))
                .collect(),
            grace: Duration::from_secs(30),
            visitors: vec![self.slugs.address.ip()],
            ingress: None,
            registries: self.registries.clone().map(Into::into),
        };
        let started = Kubernetes::start(config, self.slugs.clone(), collect(8, self.log.clone())).await;
        self.kubernetes = Some(started.unwrap());
    }
}

/// A name that no other test's apps have.
fn unique(folder: &Path) -> String {
    use sha2::Digest as _;
    format!("t{}", hex::encode(&sha2::Sha256::digest(folder.as_os_str().as_encoded_bytes())[..4]))
}

impl Stage for OnKubernetes {
    fn is_there() -> bool {
        Cluster::find().is_some()
    }

    fn without() -> &'static [(&'static str, &'static str)] {
        &[("any_address_of_the_port_counts", "a pod is reached by its own address, not by its loopback")]
    }

    async fn begin() -> Self {
        let cluster = Cluster::find().expect("a cluster");
        let data = TempDir::new().unwrap();
        let slugs = Arc::new(Served::begin(data.path().join("slugs"), &cluster).await);
        let kubeconfig = cluster.kubeconfig.clone();
        let (images, registries) = (Vec::new(), None);
        let mut stage =
            Self { cluster, kubeconfig, data, kubernetes: None, images, registries, slugs, log: Arc::default() };
        stage.start().await;
        stage
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        self.kubernetes.clone().unwrap()
    }

    fn slug(&self, files: &[(&str, &str)]) -> SlugDigest {
        self.slugs.folder.add(files)
    }

    fn log(&self) -> Vec<LogLine> {
        self.log.lock().unwrap().clone()
    }

    /// Nodes look about once a second, and tell the API server then.
    fn notices_within() -> Duration {
        Duration::from_secs(6)
    }

    /// The cluster's own back-off is told by the cluster.
    fn back_off() -> &'static str {
        ""
    }

    async fn restart(&mut self) {
        self.kubernetes.take().unwrap().close().await;
        self.start().await;
    }
}

/// A test that failed leaves nothing behind either.
impl Drop for OnKubernetes {
    fn drop(&mut self) {
        self.kubernetes = None;
        if let Ok(text) = std::fs::read_to_string(self.dir().join(Kubernetes::IDENTITY)) {
            self.cluster.forget(text.trim_matches('"'));
        }
    }
}

/// A folder of slugs, served to pods over HTTP.
struct Served {
    folder: Folder,
    address: SocketAddr,
    _serving: AbortOnDropHandle<()>,
}

impl Served {
    async fn begin(path: PathBuf, cluster: &Cluster) -> Self {
        std::fs::create_dir(&path).unwrap();
        let own = Kubernetes::own_address(Some(&cluster.kubeconfig), None).await.unwrap().expect("an address");
        let listener = TcpListener::bind((own, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = path.clone();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let served = served.clone();
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    let mut request = String::new();
                    while stream.read_line(&mut request).await.is_ok_and(|count| count > 2) {}
                    let digest = request.split(['/', '.']).nth(1).unwrap_or_default();
                    let answer = match std::fs::read(served.join(digest)) {
                        Ok(slug) => {
                            [b"HTTP/1.0 200 OK\r\nContent-Type: application/gzip\r\n\r\n", slug.as_slice()].concat()
                        }
                        Err(_) => b"HTTP/1.0 404 Not Found\r\n\r\n".to_vec(),
                    };
                    let _ = stream.write_all(&answer).await;
                });
            }
        });
        Self { folder: Folder(path), address, _serving: AbortOnDropHandle::new(serving) }
    }
}

#[async_trait]
impl SlugAddresses for Served {
    async fn address(&self, digest: &SlugDigest, _: Duration) -> Result<String, RuntimeError> {
        match self.folder.0.join(digest.as_str()).exists() {
            true => Ok(format!("http://{}/{digest}.tar.gz", self.address)),
            false => Err(RuntimeError::SlugMissing(digest.to_string())),
        }
    }
}

const GRACE: Duration = Duration::from_secs(10);

/// The cluster's own words, while it is still tried, and without anybody asking.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_started_says_why() {
    if !OnKubernetes::is_there() {
        return;
    }
    let stage = OnKubernetes::begin().await;
    let runtime = stage.runtime();
    let mut large = web(&stage, "large");
    large.size = Size::from_milli(900_000);
    runtime.apply(&large).await.unwrap();
    let says = |needle: &'static str| {
        move |all: &[Instance]| all.iter().any(|one| one.trouble.as_ref().is_some_and(|text| text.contains(needle)))
    };
    until(&runtime, "unschedulable", says("Insufficient memory")).await;
    runtime.remove(&large.id, GRACE).await.unwrap();

    let mut lost = web(&stage, "lost");
    lost.stack = Stack::parse("missing").unwrap();
    runtime.apply(&lost).await.unwrap();
    let failed = |all: &[Instance]| all.iter().any(|one| one.last_exit.as_ref().is_some_and(|exit| exit.code == 126));
    let all = until(&runtime, "given up", failed).await;
    assert!(says("no-such-image")(&all), "{all:?}");
    logged(&stage, "web.1 cannot be started").await;
    runtime.remove(&lost.id, GRACE).await.unwrap();

    let mut deaf = web(&stage, "deaf");
    deaf.command = "sleep 1000".to_owned();
    runtime.apply(&deaf).await.unwrap();
    until(&runtime, "a probe that fails", says("Readiness probe failed")).await;
    runtime.remove(&deaf.id, GRACE).await.unwrap();
}

/// Nodes sign in with what the server was told; with what is wrong there, nothing comes of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_are_pulled_with_what_their_registry_wants() {
    if !OnKubernetes::is_there() {
        return;
    }
    let Some(registry) = Registry::locked("mia", "secret") else { return };
    let mut stage = OnKubernetes::begin().await;
    for (name, stack) in [("apps/one:1", "one"), ("apps/two:1", "two")] {
        registry.push(name, &["bash"], name);
        stage.images.push((stack, registry.image(name)));
    }
    for (stack, password) in [("one", "secret"), ("two", "wrong")] {
        let auths = serde_json::json!({registry.address(): {"username": "mia", "password": password}});
        stage.registries = Some(serde_json::json!({"auths": auths}).to_string());
        stage.restart().await;
        let (runtime, mut web) = (stage.runtime(), web(&stage, stack));
        web.stack = Stack::parse(stack).unwrap();
        runtime.apply(&web).await.unwrap();
        let settled = |all: &[Instance]| all.iter().any(|one| one.started_at.is_some() || one.last_exit.is_some());
        let all = until(&runtime, "its image is pulled or not", settled).await;
        let is_pulled = all.iter().any(|one| one.started_at.is_some());
        assert_eq!(is_pulled, password == "secret", "{all:?}");
        if !is_pulled {
            assert!(all[0].trouble.as_ref().is_some_and(|why| why.contains("apps/two:1")), "{all:?}");
        }
        runtime.remove(&web.id, Duration::from_secs(1)).await.unwrap();
    }
}

/// As libcluster asks, with what is in the pod.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_are_told_of_their_peers_and_of_no_others() {
    if !OnKubernetes::is_there() {
        return;
    }
    const ASK: &str = r#"python3 - <<'END'
import json, os, ssl, urllib.error, urllib.request
at = "/var/run/secrets/kubernetes.io/serviceaccount/"
own = open(at + "namespace").read()
host = os.environ["KUBERNETES_SERVICE_HOST"] + ":" + os.environ["KUBERNETES_SERVICE_PORT"]
def ask(path):
    request = urllib.request.Request("https://" + host + path, headers={"Authorization": "Bearer " + open(at + "token").read()})
    try:
        return json.load(urllib.request.urlopen(request, context=ssl.create_default_context(cafile=at + "ca.crt")))
    except urllib.error.HTTPError as error:
        return error.code
found = ask(f"/api/v1/namespaces/{own}/endpoints?labelSelector=repo=shop")
print(sorted(one["ip"] for item in found["items"] for subset in item.get("subsets", []) for one in subset.get("addresses", [])))
found = ask(f"/api/v1/namespaces/{own}/pods?labelSelector=repo=shop")
print(len(found["items"]))
for path in ["/api/v1/namespaces/default/pods", f"/api/v1/namespaces/{own}/secrets", "/api/v1/nodes"]:
    print(ask(path))
END"#;
    let stage = OnKubernetes::begin().await;
    let (runtime, mut web) = (stage.runtime(), web(&stage, "shop"));
    web.replicas = 2;
    runtime.apply(&web).await.unwrap();
    let all = until(&runtime, "both ready", ready(2)).await;
    let mut ips: Vec<_> = all.iter().map(|one| format!("'{}'", one.address.unwrap().ip())).collect();
    ips.sort();
    let expected = format!("[{}]\n2\n403\n403\n403\n", ips.join(", "));
    // The cluster's own lists follow its pods by moments.
    let begun = std::time::Instant::now();
    loop {
        let said = inside(&all[0], ASK).await;
        if said == expected {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{said} instead of {expected}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    runtime.remove(&web.id, GRACE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_is_deleted_comes_back() {
    if !OnKubernetes::is_there() {
        return;
    }
    let stage = OnKubernetes::begin().await;
    let (runtime, web) = (stage.runtime(), web(&stage, "shop"));
    runtime.apply(&web).await.unwrap();
    let before = until(&runtime, "one ready", ready(1)).await.remove(0);
    let mut events = runtime.watch();
    let deleted =
        stage.cluster.kubectl(&["delete", "pod", &before.name, "-n", &stage.namespace("shop"), "--wait=false"]);
    assert!(deleted.status.success(), "{}", String::from_utf8_lossy(&deleted.stderr));
    let after = until(&runtime, "another", |all| ready(1)(all) && all[0].name != before.name).await.remove(0);
    assert_eq!((after.index, &after.workload), (before.index, &before.workload));
    let gone = |event: &InstanceEvent| matches!(event, InstanceEvent::Gone(one) if one.name == before.name);
    assert!(std::iter::from_fn(|| events.try_recv().ok()).any(|event| gone(&event)));
    runtime.remove(&web.id, GRACE).await.unwrap();
}

/// A server that may do what `config/kubernetes/rbac.yaml` says, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rights_that_are_described_are_enough() {
    if !OnKubernetes::is_there() {
        return;
    }
    let mut stage = OnKubernetes::begin().await;
    stage.kubernetes.take().unwrap().close().await;
    stage.kubeconfig = stage.cluster.as_server(stage.data.path());
    stage.start().await;
    let (runtime, mut web) = (stage.runtime(), web(&stage, "shop"));
    web.replicas = 2;
    runtime.apply(&web).await.unwrap();
    let one = until(&runtime, "both ready", ready(2)).await.remove(0);
    logged(&stage, "listening").await;
    let command = Command { argv: vec!["true".to_owned()], ..Command::default() };
    let ended = runtime.exec(&one.name, command).await.unwrap().ended.await.unwrap();
    assert_eq!(ended.code(), 0);
    (web.replicas, web.release) = (1, ReleaseVersion(2));
    runtime.apply(&web).await.unwrap();
    until(&runtime, "one of the next release", |all| ready(1)(all) && all[0].release == web.release).await;
    let job = job("shop", stage.slug(&[]), &["true"], GRACE);
    runtime.apply(&job).await.unwrap();
    until(&runtime, "its end", |all| all.iter().any(|one| one.state == InstanceState::Ended)).await;
    runtime.remove(&job.id, GRACE).await.unwrap();
    runtime.remove(&web.id, GRACE).await.unwrap();
}
