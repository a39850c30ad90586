//! A real Kubernetes cluster: the one of GIGALIXIR_TEST_KUBECONFIG, else one on this machine, where `tests/setup` could make
//! one. Tests that have none say SKIPPED.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::fs::{FlockOperation, flock};

use super::docker;

/// A cluster that is up and has the image.
pub struct Cluster {
    pub kubeconfig: PathBuf,
}

impl Cluster {
    /// The cluster, brought up if need be: one test at a time sees to that.
    pub fn find() -> Option<Self> {
        if let Some(kubeconfig) = std::env::var_os("GIGALIXIR_TEST_KUBECONFIG") {
            return Some(Self { kubeconfig: kubeconfig.into() });
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/cluster/cluster");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let lock = File::create(folder.join("cluster.lock")).unwrap();
        flock(&lock, FlockOperation::LockExclusive).unwrap();
        if !script.exists() || !Path::new("/var/cache/test-cluster/bin/kubelet").exists() {
            println!(
                "SKIPPED: there is no Kubernetes cluster (GIGALIXIR_TEST_KUBECONFIG names none, and none was made)"
            );
            return None;
        }
        if !docker::is_there(Path::new(env!("CARGO_BIN_EXE_gigalixir"))) {
            println!("SKIPPED: there is no image for a Kubernetes cluster to run");
            return None;
        }
        let up = Command::new(&script).arg("up").output().unwrap();
        let said = String::from_utf8_lossy(&up.stdout);
        assert!(up.status.success(), "the cluster does not come up: {}", String::from_utf8_lossy(&up.stderr));
        let kubeconfig = PathBuf::from(said.lines().last().expect("the kubeconfig's path"));
        let_pods_meet();
        // Once for each image and each cluster.
        let image = Command::new("docker")
            .args(["image", "inspect", "--format", "{{.Id}}", &docker::image()])
            .output()
            .unwrap();
        let loaded =
            format!("{}{:?}", String::from_utf8_lossy(&image.stdout), kubeconfig.metadata().unwrap().modified());
        let note = folder.join("cluster.loaded");
        if std::fs::read_to_string(&note).ok().as_ref() != Some(&loaded) {
            let load = Command::new(&script).args(["load", &docker::image()]).output().unwrap();
            assert!(load.status.success(), "{}", String::from_utf8_lossy(&load.stderr));
            std::fs::write(note, loaded).unwrap();
        }
        Some(Self { kubeconfig })
    }

    /// What `kubectl` says.
    pub fn kubectl(&self, arguments: &[&str]) -> Output {
        Command::new("kubectl").arg("--kubeconfig").arg(&self.kubeconfig).args(arguments).output().unwrap()
    }

    /// Makes these objects be there.
    pub fn apply(&self, objects: &serde_json::Value) {
        let mut kubectl = Command::new("kubectl");
        kubectl.arg("--kubeconfig").arg(&self.kubeconfig).args(["apply", "-f", "-"]);
        let mut child = kubectl.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(objects.to_string().as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{objects}");
    }

    /// A kubeconfig for one of its service accounts.
    pub fn as_account(&self, folder: &Path, namespace: &str, name: &str) -> PathBuf {
        let view = self.kubectl(&["config", "view", "--raw", "--minify", "-o", "json"]);
        let mut config: serde_json::Value = serde_json::from_slice(&view.stdout).unwrap();
        // Newer servers make tokens on demand, older ones keep one in a secret.
        let made = self.kubectl(&["create", "token", name, "-n", namespace]);
        let mut token = String::from_utf8(made.stdout).unwrap().trim().to_owned();
        let begun = std::time::Instant::now();
        while token.is_empty() {
            assert!(begun.elapsed() < std::time::Duration::from_secs(30), "no token for {name}");
            let listed = self.kubectl(&["get", "secrets", "-n", namespace, "-o", "json"]);
            let secrets: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
            let of =
                |one: &&serde_json::Value| one["metadata"]["annotations"]["kubernetes.io/service-account.name"] == name;
            let found = secrets["items"].as_array().unwrap().iter().find(of);
            token = found.and_then(|one| decode(one["data"]["token"].as_str()?)).unwrap_or_default();
        }
        for user in config["users"].as_array_mut().unwrap() {
            user["user"] = serde_json::json!({"token": token});
        }
        let file = folder.join("account.kubeconfig");
        std::fs::write(&file, config.to_string()).unwrap();
        file
    }

    /// A kubeconfig for an account that may do what `config/kubernetes/rbac.yaml` says, and nothing else.
    pub fn as_server(&self, folder: &Path) -> PathBuf {
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/kubernetes/rbac.yaml");
        let applied = self.kubectl(&["apply", "-f", rules.to_str().unwrap()]);
        assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
        self.as_account(folder, "gigalixir", "gigalixir")
    }

    /// Removes all that a server left.
    pub fn forget(&self, server: &str) {
        let label = format!("gigalixir.server={server}");
        self.kubectl(&["delete", "namespace", "--selector", &label, "--wait=false"]);
    }
}

/// Docker has this machine forward nothing that it does not know, what goes from pod to pod included.
fn let_pods_meet() {
    let forward = |how: &str| {
        let rule = [how, "FORWARD", "-i", "cni-test0", "-o", "cni-test0", "-j", "ACCEPT"];
        Command::new("iptables").args(rule).output().expect("iptables").status.success()
    };
    assert!(forward("-C") || forward("-I"), "pods will not reach each other");
}

fn decode(text: &str) -> Option<String> {
    use base64::Engine as _;
    String::from_utf8(base64::engine::general_purpose::STANDARD.decode(text).ok()?).ok()
}
