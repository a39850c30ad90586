//! A Docker daemon of a test's own, to be killed: beside the machine's, with its own socket, folders and networks.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::{docker, wait_until};

/// The daemon. What it runs ends with it.
pub struct Dockerd {
    folder: TempDir,
    child: Child,
    keeps: bool,
}

impl Dockerd {
    /// A daemon with the stack's image; `keeps`: whether what runs outlives it. `None`, loudly, where there can be none.
    pub fn start(keeps: bool) -> Option<Self> {
        if !docker::is_there(Path::new(env!("CARGO_BIN_EXE_gigalixir"))) {
            return None;
        }
        let folder = tempfile::Builder::new().prefix("dockerd-").tempdir_in("/var/tmp").expect("folder");
        let bridge = bridge();
        ip(&["link", "add", &bridge, "type", "bridge"]);
        ip(&["addr", "add", "10.198.0.1/24", "dev", &bridge]);
        let child = spawn(folder.path(), keeps);
        let daemon = Self { folder, child, keeps };
        daemon.wait();
        let mut save =
            Command::new("docker").args(["save", &docker::image()]).stdout(Stdio::piped()).spawn().expect("save");
        let load = daemon.docker().arg("load").stdin(save.stdout.take().expect("stdout")).output().expect("load");
        assert!(save.wait().expect("save").success() && load.status.success(), "{load:?}");
        Some(daemon)
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    /// `docker`, of this daemon.
    pub fn docker(&self) -> Command {
        let mut docker = Command::new("docker");
        docker.arg("--host").arg(format!("unix://{}", self.socket().display()));
        docker
    }

    /// The ids of what runs.
    pub fn running(&self) -> Vec<String> {
        let listed = self.docker().args(["ps", "-q", "--no-trunc"]).output().expect("ps");
        String::from_utf8_lossy(&listed.stdout).split_whitespace().map(str::to_owned).collect()
    }

    /// `kill -9`, of the daemon alone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn start_again(&mut self) {
        // Left by a daemon that could not remove it.
        let _ = std::fs::remove_file(self.folder.path().join("pid"));
        self.child = spawn(self.folder.path(), self.keeps);
        self.wait();
    }

    fn wait(&self) {
        let answers = || self.docker().arg("info").output().is_ok_and(|ran| ran.status.success());
        wait_until("the daemon answers", Duration::from_secs(60), answers);
    }
}

/// One at a time for each test's process.
fn bridge() -> String {
    format!("test{}", std::process::id())
}

fn ip(args: &[&str]) {
    let ran = Command::new("ip").args(args).output().expect("ip");
    assert!(ran.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&ran.stderr));
}

fn spawn(folder: &Path, keeps: bool) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(folder.join("log")).expect("log");
    let mut dockerd = Command::new("dockerd");
    dockerd.arg("--host").arg(format!("unix://{}", folder.join("docker.sock").display()));
    for (flag, name) in [("--data-root", "data"), ("--exec-root", "run"), ("--pidfile", "pid")] {
        dockerd.arg(flag).arg(folder.join(name));
    }
    // The machine's own daemon has the packet filter. Without a bridge of its own this one would remove the other's.
    dockerd.args(["--bridge", &bridge(), "--iptables=false", "--ip6tables=false", "--userland-proxy=false"]);
    dockerd.args(keeps.then_some("--live-restore"));
    dockerd.stdin(Stdio::null()).stdout(log.try_clone().expect("log")).stderr(log).spawn().expect("dockerd")
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            let last: Vec<_> = log.lines().rev().take(30).collect();
            eprintln!("--- dockerd ---\n{}", last.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
        for id in self.running() {
            let _ = self.docker().args(["rm", "-f", &id]).output();
        }
        let networks = self.docker().args(["network", "ls", "-q", "--filter", "type=custom"]).output();
        for id in
            networks.iter().flat_map(|listed| listed.stdout.split(|byte| *byte == b'\n')).filter(|id| !id.is_empty())
        {
            let _ = self.docker().args(["network", "rm", &String::from_utf8_lossy(id)]).output();
        }
        super::kill(self.child.id() as i32, rustix::process::Signal::TERM);
        let _ = self.child.wait();
        // Of one that was killed and took no leave of it.
        let pid = std::fs::read_to_string(self.folder.path().join("run/containerd/containerd.pid"));
        if let Some(pid) = pid.ok().and_then(|text| text.trim().parse().ok()) {
            super::kill(pid, rustix::process::Signal::KILL);
        }
        let _ = Command::new("ip").args(["link", "delete", &bridge()]).output();
        // A daemon mounts its data over itself, and one that was killed leaves it so.
        let _ = Command::new("umount").arg("--lazy").arg(self.folder.path().join("data")).output();
    }
}
