//! Builds in the cluster's pods, by a server that may do no more than is described.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Stdio;

use super::{LONG, Platform, Wishes};
use crate::harness::cluster::Cluster;
use crate::harness::{Person, Project, wait_until};

impl Platform {
    /// The pods of its builds.
    fn builds(&self) -> Vec<String> {
        let server = std::fs::read_to_string(self.server.data().join("kubernetes/server.json")).unwrap_or_default();
        let namespace = format!("p{}-gigalixir-builds-{}", std::process::id(), server.trim_matches('"'));
        let found = self.cluster.kubectl(&["get", "pods", "-n", &namespace, "-o", "name"]);
        String::from_utf8_lossy(&found.stdout).lines().map(str::to_owned).collect()
    }
}

/// A buildpack that does what the pushed tree's `build.sh` says.
fn buildpack(packs: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let compile = "export CACHE=$2\n. \"$1/build.sh\"";
    for (name, script) in [("detect", "echo Own"), ("compile", compile), ("release", "true")] {
        let file = packs.join("own/bin").join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, format!("#!/bin/bash\n{script}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn what_is_pushed_is_built_in_a_pod() {
    let Some(cluster) = Cluster::find() else { return };
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = cluster.as_server(folder.path());
    buildpack(folder.path());
    let more = format!(
        "[builder]\nsandbox = \"kubernetes\"\nbuildpacks_dir = {:?}\nmemory_mib = 300\ndisk_mib = 200\n",
        folder.path()
    );
    let wishes = Wishes { more: &more, kubeconfig: Some(&kubeconfig), ..Wishes::default() };
    let mut platform = Platform::with(cluster, wishes);
    let ada = Person::sign_up(&platform.server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    project.write(".buildpacks", folder.path().join("own").to_str().unwrap());
    let push = |script: &str| {
        project.write("build.sh", script);
        project.commit(&ada, "another build");
        ada.git(&project, &["push", "gigalixir", "HEAD:refs/heads/master"])
    };

    // It is nobody, in a place of its own, and what it says comes as it says it; its cache stays.
    let script = "id -u; hostname; echo to stderr >&2; ls /var/run/secrets 2>/dev/null; touch $CACHE/kept; \
                  echo from the build >greeting.txt; ln -s greeting.txt link";
    let said = push(script).ok_stderr();
    for needle in ["remote: 1000", "remote: build", "to stderr", "Process types: web"] {
        assert!(said.contains(needle), "no `{needle}` in {said}");
    }
    assert!(!said.contains("kubernetes.io"), "{said}");
    assert!(platform.server.visit("hello", "/").body.starts_with("from the build "));
    assert!(platform.builds().is_empty(), "{:?}", platform.builds());
    let said = push("ls $CACHE; echo two >greeting.txt").ok_stderr();
    assert!(said.contains("kept"), "{said}");

    for (script, why) in [
        ("echo no good; exit 3", "no good"),
        ("python3 -c 'x = bytearray(600_000_000); print(len(x))'", "needed more than 300.0 MiB of memory"),
        ("head -c 250M /dev/zero >big; true", "filled more than 200.0 MiB of disk"),
    ] {
        let said = push(script).fails();
        assert!(said.contains(why), "no `{why}` in {said}");
    }
    assert!(platform.server.visit("hello", "/").body.starts_with("two "));
    assert!(platform.builds().is_empty(), "{:?}", platform.builds());

    // Given up by its pusher.
    let mut git = given_up(&ada, &project);
    wait_until("it is being built", LONG, || !platform.builds().is_empty());
    // git, and the helper that speaks for it.
    let group = rustix::process::Pid::from_raw(git.id() as i32).unwrap();
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
    git.wait().unwrap();
    wait_until("nothing is left", LONG, || platform.builds().is_empty());

    // Left by a server that was killed.
    let mut git = given_up(&ada, &project);
    wait_until("it is being built", LONG, || !platform.builds().is_empty());
    platform.server.kill();
    let _ = git.wait();
    assert_eq!(platform.builds().len(), 1);
    platform.server.start_again();
    wait_until("it is swept", LONG, || platform.builds().is_empty());
}

/// A push whose build takes its time.
fn given_up(ada: &Person, project: &Project) -> std::process::Child {
    project.write("build.sh", "sleep 600");
    project.commit(ada, "slow");
    let mut git = ada.command("git");
    git.args(["push", "gigalixir", "HEAD:refs/heads/master"]).current_dir(project.path());
    git.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn().unwrap()
}
