//! Builds in the cluster, by a server that may do no more than is described.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Stdio};

use super::{LONG, Platform, Wishes};
use crate::harness::cluster::Cluster;
use crate::harness::{Person, Project, Ran, wait_until};

/// A platform that builds there what a pushed `build.sh` says, and an app.
pub(crate) struct Workshop {
    pub(crate) platform: Platform,
    pub(crate) ada: Person,
    pub(crate) project: Project,
    _folder: tempfile::TempDir,
}

impl Workshop {
    pub(crate) fn open() -> Option<Self> {
        let cluster = Cluster::find()?;
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = cluster.as_server(folder.path());
        buildpack(folder.path());
        let more = format!(
            "[builder]\nsandbox = \"kubernetes\"\nbuildpacks_dir = {:?}\nmemory_mib = 300\ndisk_mib = 200\n",
            folder.path()
        );
        let wishes = Wishes { more: &more, kubeconfig: Some(&kubeconfig), ..Wishes::default() };
        let platform = Platform::with(cluster, wishes);
        let ada = Person::sign_up(&platform.server, "ada@example.com");
        let project = Project::greeting(&ada, "hello", "one");
        project.write(".buildpacks", folder.path().join("own").to_str().unwrap());
        Some(Self { platform, ada, project, _folder: folder })
    }

    pub(crate) fn push(&self, script: &str) -> Ran {
        self.commit(script);
        self.ada.git(&self.project, &["push", "gigalixir", "HEAD:refs/heads/master"])
    }

    /// A push that goes on; what git says goes there.
    pub(crate) fn begin(&self, script: &str, said: impl Into<Stdio>) -> Child {
        self.commit(script);
        let mut git = self.ada.command("git");
        git.args(["push", "gigalixir", "HEAD:refs/heads/master"]).current_dir(self.project.path());
        git.stdout(Stdio::null()).stderr(said).process_group(0).spawn().unwrap()
    }

    fn commit(&self, script: &str) {
        self.project.write("build.sh", script);
        self.project.commit(&self.ada, "another build");
    }

    /// What is in the cluster of its builds, of these kinds.
    fn there(&self, kinds: &str) -> Vec<String> {
        let server = self.platform.server.data().join("kubernetes/server.json");
        let server = std::fs::read_to_string(server).unwrap_or_default();
        let namespace = format!("p{}-gigalixir-builds-{}", std::process::id(), server.trim_matches('"'));
        let wish = ["get", kinds, "-n", &namespace, "-l", "gigalixir.build", "-o", "name"];
        let found = self.platform.cluster.kubectl(&wish);
        String::from_utf8_lossy(&found.stdout).lines().map(str::to_owned).collect()
    }

    #[track_caller]
    fn nothing_is_left(&self) {
        let left = self.there("pods,jobs,secrets");
        assert!(left.is_empty(), "{left:?}");
        let parcels = std::fs::read_dir(self.platform.server.data().join("parcels")).unwrap();
        assert_eq!(parcels.count(), 0);
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
    let Some(mut shop) = Workshop::open() else { return };
    // It is nobody, in a place of its own, and what it says comes as it says it; its cache stays.
    let script = "id -u; hostname; echo to stderr >&2; ls /var/run/secrets 2>/dev/null; touch $CACHE/kept; \
                  echo from the build >greeting.txt; ln -s greeting.txt link; sleep 1000 & disown; printf 'no end'";
    let said = shop.push(script).ok_stderr();
    for needle in ["remote: 1000", "remote: build", "to stderr", "no end", "Process types: web"] {
        assert!(said.contains(needle), "no `{needle}` in {said}");
    }
    assert!(!said.contains("kubernetes.io") && !said.contains("Killed"), "{said}");
    assert!(shop.platform.server.visit("hello", "/").body.starts_with("from the build "));
    shop.nothing_is_left();
    let said = shop.push("ls $CACHE; ls -A /tmp/env | wc -l; echo two >greeting.txt").ok_stderr();
    assert!(said.contains("kept") && !said.contains("remote: 0 "), "{said}");

    for (script, why) in [
        ("echo no good; exit 3", "no good"),
        ("python3 -c 'x = bytearray(600_000_000); print(len(x))'", "needed more than 300.0 MiB of memory"),
        ("head -c 250M /dev/zero >big; true", "filled more than 200.0 MiB of disk"),
    ] {
        let said = shop.push(script).fails();
        assert!(said.contains(why), "no `{why}` in {said}");
    }
    assert!(shop.platform.server.visit("hello", "/").body.starts_with("two "));
    shop.nothing_is_left();

    // Given up by its pusher.
    let mut git = shop.begin("sleep 600", Stdio::null());
    wait_until("it is being built", LONG, || !shop.there("pods").is_empty());
    // git, and the helper that speaks for it.
    let group = rustix::process::Pid::from_raw(git.id() as i32).unwrap();
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
    git.wait().unwrap();
    wait_until("nothing is left", LONG, || shop.there("pods,jobs,secrets").is_empty());

    // Left by a server that was killed.
    let mut git = shop.begin("sleep 600", Stdio::null());
    wait_until("it is being built", LONG, || !shop.there("pods").is_empty());
    shop.platform.server.kill();
    let _ = git.wait();
    assert_eq!(shop.there("jobs").len(), 1);
    shop.platform.server.start_again();
    wait_until("it is swept", LONG, || shop.there("pods,jobs,secrets").is_empty());
}

/// Its build has to hand in what it makes.
#[test]
fn a_server_that_is_told_to_end_waits_for_its_builds() {
    let Some(mut shop) = Workshop::open() else { return };
    let said = tempfile::NamedTempFile::new().unwrap();
    let mut push = shop.begin("echo begun; sleep 4; exit 3", said.reopen().unwrap());
    let heard = || std::fs::read_to_string(said.path()).unwrap();
    wait_until("it is being built", LONG, || heard().contains("begun"));
    assert_eq!(shop.platform.server.terminate(), Some(0));
    push.wait().unwrap();
    // Which stage of the build that was is in what it has handed in.
    assert!(heard().contains("code 3"), "{}", heard());
    shop.nothing_is_left();
}

/// A build can read both of its addresses, and they are of no use to it but for what it does anyway.
#[test]
fn a_build_s_addresses_lead_nowhere_else() {
    let Some(shop) = Workshop::open() else { return };
    let own = "while IFS='=' read -r -d '' name value; do case $name in GIGALIXIR__*) declare \"${name#GIGALIXIR__}=$value\";; \
               esac; done </proc/1/environ; ask() { curl -s -o /dev/null -w \"$1 %{http_code}\\n\" \"${@:2}\"; }\n";
    let tries = "ask fetched \"$FETCH\"; ask backwards \"$HAND_IN\"; echo x | ask upside-down -T - \"$FETCH\"; \
                 ask another \"${FETCH/builds\\/build-/builds\\/other-}\"; echo \"at $HAND_IN\"";
    let said = shop.push(&format!("{own}{tries}")).ok_stderr();
    for needle in ["fetched 200", "backwards 403", "upside-down 403", "another 403"] {
        assert!(said.contains(needle), "no `{needle}` in {said}");
    }
    let address = said.lines().find_map(|line| line.strip_prefix("remote: at ")).expect("the address").trim();
    let late = std::process::Command::new("curl")
        .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-T", "Cargo.toml", address])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&late.stdout), "404", "its build is over");

    // What it hands in by itself is what it has built.
    let said = shop.push(&format!("{own}echo nonsense | ask early -T - \"$HAND_IN\"")).fails();
    assert!(said.contains("early 200") && said.contains("bringing its folders back"), "{said}");
    assert!(shop.platform.server.visit("hello", "/").body.starts_with("one "));
    shop.nothing_is_left();
}
