//! A Docker daemon that is killed under the platform. It is one of the test's own: the machine's is others' too.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::{Person, Place, Project, docker, kill, wait_until};

const LONG: Duration = Duration::from_secs(120);

/// A daemon in a folder. It leaves the machine's firewall alone, so its networks are not apart.
struct Daemon {
    folder: TempDir,
    child: Child,
}

impl Daemon {
    fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("gigalixir-dockerd-").tempdir().expect("folder");
        let child = spawn(folder.path().into());
        let daemon = Self { folder, child };
        daemon.answers();
        daemon
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    fn docker(&self, args: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.arg("-H").arg(format!("unix://{}", self.socket().display())).args(args);
        command
    }

    #[track_caller]
    fn says(&self, args: &[&str]) -> String {
        let ran = self.docker(args).output().expect("docker");
        assert!(ran.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8_lossy(&ran.stdout).trim().to_owned()
    }

    fn answers(&self) {
        wait_until("the daemon answers", LONG, || {
            self.docker(&["info"]).output().is_ok_and(|ran| ran.status.success())
        });
    }

    /// The image of the machine's daemon, for this one too.
    fn load_image(&self) {
        let mut save =
            Command::new("docker").args(["save", &docker::image()]).stdout(Stdio::piped()).spawn().expect("save");
        let archive = save.stdout.take().expect("stdout");
        let loaded = self.docker(&["load"]).stdin(archive).stdout(Stdio::null()).status().expect("load");
        assert!(save.wait().expect("save").success() && loaded.success());
    }

    /// The daemon and its containerd, without a word; what runs in containers runs on.
    fn kill(&mut self) {
        let containerd = std::fs::read_to_string(self.folder.path().join("exec/containerd/containerd.pid"));
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(pid) = containerd.ok().and_then(|pid| pid.trim().parse().ok()) {
            kill(pid, Signal::KILL);
        }
    }

    fn start_again(&mut self) {
        self.child = spawn(self.folder.path().into());
        self.answers();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let bridges = ["network", "ls", "-q", "--filter", "driver=bridge"];
        for (list, remove) in [(&["ps", "-aq"][..], &["rm", "-f", "-v"][..]), (&bridges, &["network", "rm"])] {
            let found = self.docker(list).output().map(|ran| ran.stdout).unwrap_or_default();
            for id in String::from_utf8_lossy(&found).split_whitespace() {
                let _ = self.docker(remove).arg(id).output();
            }
        }
        kill(self.child.id() as i32, Signal::TERM);
        let _ = self.child.wait();
    }
}

fn spawn(folder: PathBuf) -> Child {
    let path = |name: &str| folder.join(name).display().to_string();
    let log = std::fs::File::options().create(true).append(true).open(folder.join("log")).expect("log");
    Command::new("dockerd")
        .args(["--data-root", &path("data"), "--exec-root", &path("exec"), "--pidfile", &path("pid")])
        .args(["--host", &format!("unix://{}", path("docker.sock")), "--bridge", "none"])
        .args(["--iptables=false", "--ip6tables=false", "--ip-masq=false"])
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("dockerd")
}

#[test]
fn a_daemon_that_is_killed_comes_back_to_what_was_wished() {
    if !Place::Docker.is_there() {
        return;
    }
    let mut daemon = Daemon::start();
    daemon.load_image();
    let foreign = daemon.says(&["create", "--network", "none", &docker::image(), "sleep", "1000"]);
    let config = format!("[docker]\nsocket = {:?}\nsubnets = \"10.219.0.0/16\"\n", daemon.socket().to_str().unwrap());
    let server = Place::Docker.server(&config);
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    project.push(&ada);
    ada.run_in(&project, &["ps:scale", "web=2"]).ok();
    let containers = || daemon_ids(&daemon);
    assert_eq!(containers().len(), 2);

    daemon.kill();
    let refused = {
        project.greet(&ada, "two");
        ada.git(&project, &["push", "gigalixir", "HEAD:refs/heads/master"]).fails()
    };
    assert!(refused.contains("Docker") && refused.contains("Deploy aborted"), "{refused}");
    daemon.start_again();
    wait_until("both replicas are there again", LONG, || {
        let status = ada.run_in(&project, &["ps", "--json"]).ok();
        let status: serde_json::Value = serde_json::from_str(&status).expect("json");
        status["replicas_running"] == 2 && status["pods"].as_array().is_some_and(|pods| pods.len() == 2)
    });
    assert!(server.visit("hello", "/").body.starts_with("one "), "{}", server.log());
    project.push(&ada);
    assert!(server.visit("hello", "/").body.starts_with("two "));
    wait_until("the old ones are gone", LONG, || daemon_ids(&daemon).len() == 2);
    assert_eq!(daemon.says(&["inspect", "--format", "{{.State.Status}}", &foreign]), "created", "a foreign object");
    ada.run_in(&project, &["ps:scale", "web=0"]).ok();
    wait_until("nothing of the app is left", LONG, || {
        let networks = daemon.says(&["network", "ls", "-q", "--filter", "label=gigalixir.app=hello"]);
        daemon_ids(&daemon).is_empty() && networks.is_empty() && daemon.says(&["volume", "ls", "-q"]).is_empty()
    });
}

fn daemon_ids(daemon: &Daemon) -> Vec<String> {
    let listed = daemon.says(&["ps", "-aq", "--filter", "label=gigalixir.app=hello"]);
    listed.split_whitespace().map(str::to_owned).collect()
}
