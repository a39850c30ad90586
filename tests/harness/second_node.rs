//! A second node for the cluster on this machine: a kubelet and a containerd beside the first one's, with an address, a pod
//! network and control groups of their own. What they run ends with them.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::cluster::Cluster;
use super::{docker, wait_until};

const FIRST: &str = "/var/lib/test-cluster";
const NAME: &str = "node-2";
const ADDRESS: &str = "10.244.255.2";
const PODS: &str = "10.244.1.0/24";
const BRIDGE: &str = "cni-test1";
/// Of control groups.
const GROUP: &str = "test-node-2";

/// The node.
pub struct SecondNode<'a> {
    cluster: &'a Cluster,
    folder: TempDir,
    containerd: Child,
    kubelet: Child,
}

impl<'a> SecondNode<'a> {
    /// A ready node with the image; `None`, loudly, when the cluster is another than the one made here.
    pub fn join(cluster: &'a Cluster) -> Option<Self> {
        if std::env::var_os("GIGALIXIR_TEST_KUBECONFIG").is_some() || !Path::new(FIRST).join("pid/kubelet").exists() {
            println!("SKIPPED: a second node can join only the cluster that is made on this machine");
            return None;
        }
        let folder = tempfile::Builder::new().prefix("node-2-").tempdir_in("/var/tmp").expect("folder");
        run("ip", &["addr", "replace", &format!("{ADDRESS}/32"), "dev", "lo"]);
        control_groups();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("cni")).expect("folder");
        let first =
            |name: &str| std::fs::read_to_string(Path::new(FIRST).join(name)).expect("the first node's settings");
        let network = first("cni/10-bridge.conflist").replace("cni-test0", BRIDGE).replace("10.244.0.0/24", PODS);
        std::fs::write(at("cni/10-bridge.conflist"), network.replace("\"test\"", "\"test-2\"")).expect("cni");
        let own = folder.path().to_str().expect("utf-8");
        let settings = first("containerd.toml").replace("/run/test-cluster", &format!("{own}/run")).replace(FIRST, own);
        std::fs::write(at("containerd.toml"), settings).expect("settings");
        let more = format!("port: 20250\nhealthzPort: 20248\ncgroupRoot: /{GROUP}\n");
        std::fs::write(at("kubelet.yaml"), first("kubelet.yaml") + &more).expect("settings");
        let containerd =
            spawn(folder.path(), "containerd", &["containerd", "--config", &format!("{own}/containerd.toml")]);
        let socket = format!("{own}/run/containerd.sock");
        wait_until("containerd answers", Duration::from_secs(30), || {
            ctr(&socket).arg("version").output().is_ok_and(|ran| ran.status.success())
        });
        for image in ["localhost/pause:1", &docker::image()] {
            let mut save = Command::new("docker").args(["save", image]).stdout(Stdio::piped()).spawn().expect("save");
            let import =
                ctr(&socket).args(["images", "import", "-"]).stdin(save.stdout.take().expect("stdout")).output();
            assert!(save.wait().expect("save").success() && import.expect("import").status.success(), "{image}");
        }
        let kubelet = spawn(
            folder.path(),
            "kubelet",
            &[
                "/var/cache/test-cluster/bin/kubelet",
                &format!("--kubeconfig={}", cluster.kubeconfig.display()),
                &format!("--config={own}/kubelet.yaml"),
                &format!("--root-dir={own}/kubelet"),
                &format!("--hostname-override={NAME}"),
                &format!("--node-ip={ADDRESS}"),
                "--container-runtime=remote",
                &format!("--container-runtime-endpoint=unix://{socket}"),
            ],
        );
        let node = Self { cluster, folder, containerd, kubelet };
        wait_until("the node is ready", Duration::from_secs(60), || node.status() == "True");
        Some(node)
    }

    pub fn name(&self) -> &'static str {
        NAME
    }

    /// Whether the cluster finds it ready: `True`, `False` or `Unknown`.
    pub fn status(&self) -> String {
        let path = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;
        let asked = self.cluster.kubectl(&["get", "node", NAME, "-o", path]);
        String::from_utf8_lossy(&asked.stdout).into_owned()
    }

    /// All that runs on it ends at once, and it says nothing any more.
    pub fn lose(&mut self) {
        for one in [&mut self.kubelet, &mut self.containerd] {
            let _ = one.kill();
            let _ = one.wait();
        }
        // What it ran, by their control groups; and whoever looks after that.
        let mut left = self.members();
        left.extend(shims(&self.socket()));
        for pid in left {
            super::kill(pid, rustix::process::Signal::KILL);
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("run/containerd.sock")
    }

    fn members(&self) -> Vec<i32> {
        let groups = walkdir::WalkDir::new(format!("/sys/fs/cgroup/memory/{GROUP}")).into_iter().flatten();
        let lists = groups.filter(|entry| entry.file_name() == "cgroup.procs");
        let pids = lists.filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
        pids.flat_map(|text| text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<i32>>()).collect()
    }
}

impl Drop for SecondNode<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.path().join("kubelet.log")).unwrap_or_default();
            let last: Vec<_> = log.lines().rev().take(20).collect();
            eprintln!("--- kubelet ---\n{}", last.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
        self.lose();
        self.cluster.kubectl(&["delete", "node", NAME, "--wait=false"]);
        let own = self.folder.path().to_string_lossy().into_owned();
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
        let ours = mounts.lines().filter_map(|line| line.split(' ').nth(1)).filter(|at| at.starts_with(&own));
        ours.rev().for_each(|at| drop(Command::new("umount").args(["-l", at]).output()));
        let _ = Command::new("ip").args(["link", "delete", BRIDGE]).output();
        let _ = Command::new("ip").args(["addr", "delete", &format!("{ADDRESS}/32"), "dev", "lo"]).output();
    }
}

/// containerd's helpers, which know its address.
fn shims(socket: &Path) -> Vec<i32> {
    let folder = socket.parent().and_then(Path::parent).expect("the node's folder");
    super::children_of_data(folder).into_iter().map(|(pid, _)| pid).collect()
}

/// One in each hierarchy. CPUs and memory nodes have to be said.
fn control_groups() {
    for controller in std::fs::read_dir("/sys/fs/cgroup").expect("control groups").flatten() {
        let _ = std::fs::create_dir(controller.path().join(GROUP));
    }
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let all = std::fs::read_to_string(Path::new("/sys/fs/cgroup/cpuset").join(file)).unwrap_or_default();
        let _ = std::fs::write(format!("/sys/fs/cgroup/cpuset/{GROUP}/{file}"), all.trim());
    }
}

fn ctr(socket: &str) -> Command {
    let mut ctr = Command::new("ctr");
    ctr.args(["--address", socket, "--namespace", "k8s.io"]);
    ctr
}

fn run(program: &str, args: &[&str]) {
    let ran = Command::new(program).args(args).output().expect(program);
    assert!(ran.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&ran.stderr));
}

fn spawn(folder: &Path, name: &str, argv: &[&str]) -> Child {
    let log = std::fs::File::create(folder.join(format!("{name}.log"))).expect("log");
    let mut command = Command::new(argv[0]);
    command.args(&argv[1..]).stdin(Stdio::null()).stdout(log.try_clone().expect("log")).stderr(log);
    command.spawn().expect(name)
}
