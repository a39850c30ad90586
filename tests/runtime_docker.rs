//! The Docker runtime on trial: the contract, and what only it promises. Needs a Docker daemon and the image of the stack
//! `debian-12`; `tests/setup` sees to both, and says so where it cannot.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use gigalixir::server::domain::*;
use gigalixir::server::runtime::Runtime;
use gigalixir::server::runtime::docker::{Docker, DockerConfig};
use tempfile::TempDir;

use crate::runtime_contract::{Folder, Stage, collect};

crate::runtime_contract! {
    OnDocker:
    becomes_ready_answers_and_goes
    scales_up_and_down_highest_first
    generations_stand_beside_each_other
    one_is_replaced_and_the_others_stay
    an_end_is_seen_told_and_followed_by_a_new_run
    too_much_memory_is_an_oom_kill
    the_environment_is_whole_and_literal
    what_does_not_listen_is_not_ready
    sigterm_first_and_sigkill_after_the_grace
    output_is_whole_and_in_order
    a_new_server_takes_over
    instances_are_apart
    a_missing_slug_is_an_error_and_nothing_runs
    a_program_runs_beside_and_says_how_it_ended
    a_program_has_the_instances_place_and_environment
    a_program_may_do_no_more_than_the_app
    much_data_goes_both_ways
    a_terminal_has_a_size_and_changes_it
    a_shell_on_a_terminal_controls_its_jobs
    signals_reach_the_whole_group
    a_session_let_go_leaves_nothing
    a_session_ends_with_its_instance
    a_session_ends_with_the_server_and_the_instance_goes_on
    ports_of_an_instance_can_be_reached
}

const SOCKET: &str = "/var/run/docker.sock";
const IMAGE: &str = "gigalixir/debian-12:test";
/// A stack with as little as the tests need.
const STACK: &str = r#"
run = "gigalixir/debian-12:test"
build = "gigalixir/debian-12:test"
[debootstrap]
suite = "bookworm"
include = ["procps", "python3"]
"#;

/// Whether there is a Docker with the image, made by `stacks:build` if need be; one test at a time sees to that.
pub(crate) fn has_image() -> bool {
    let docker = |args: &[&str]| Command::new("docker").args(args).output().is_ok_and(|ran| ran.status.success());
    if !docker(&["info"]) {
        println!("SKIPPED: there is no Docker daemon");
        return false;
    }
    let lock = File::create(Path::new(env!("CARGO_TARGET_TMPDIR")).join("docker-image.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    if docker(&["image", "inspect", IMAGE]) {
        return true;
    }
    let stacks = TempDir::new().unwrap();
    std::fs::write(stacks.path().join("debian-12.toml"), STACK).unwrap();
    let mut build = Command::new(env!("CARGO_BIN_EXE_gigalixir"));
    build.args(["stacks:build", "debian-12", "--stacks-dir"]).arg(stacks.path());
    let ran = build.output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    docker(&["image", "inspect", IMAGE])
}

struct OnDocker {
    data: TempDir,
    docker: Option<Arc<Docker>>,
    log: Arc<Mutex<Vec<LogLine>>>,
}

impl OnDocker {
    fn wishes(&self) -> PathBuf {
        self.data.path().join("docker")
    }

    async fn start(&mut self) {
        let config = DockerConfig {
            socket: SOCKET.into(),
            dir: self.wishes(),
            images: BTreeMap::from([(Stack::parse("debian-12").unwrap(), IMAGE.to_owned())]),
            subnets: "10.220.0.0/14".parse().unwrap(),
        };
        let slugs = Arc::new(Folder(self.data.path().join("slugs")));
        self.docker = Some(Docker::start(config, slugs, collect(8, self.log.clone())).await.unwrap());
    }
}

impl Stage for OnDocker {
    fn is_there() -> bool {
        has_image()
    }

    async fn begin() -> Self {
        let data = TempDir::new().unwrap();
        std::fs::create_dir(data.path().join("slugs")).unwrap();
        let mut stage = Self { data, docker: None, log: Arc::default() };
        stage.start().await;
        stage
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        self.docker.clone().unwrap()
    }

    fn slug(&self, files: &[(&str, &str)]) -> SlugDigest {
        Folder(self.data.path().join("slugs")).add(files)
    }

    fn log(&self) -> Vec<LogLine> {
        self.log.lock().unwrap().clone()
    }

    async fn restart(&mut self) {
        self.docker.take().unwrap().close().await;
        self.start().await;
    }
}

/// A test that failed leaves no containers behind either.
impl Drop for OnDocker {
    fn drop(&mut self) {
        self.docker = None;
        let label = format!("label=gigalixir.server={}", server(&self.wishes()));
        for (list, remove) in
            [(&["ps", "-aq"][..], &["rm", "-f", "-v"][..]), (&["network", "ls", "-q"], &["network", "rm"])]
        {
            let found = Command::new("docker").args(list).args(["--filter", &label]).output().unwrap();
            for id in String::from_utf8_lossy(&found.stdout).split_whitespace() {
                let _ = Command::new("docker").args(remove).arg(id).output();
            }
        }
    }
}

/// The label of a server whose wishes are in this folder.
fn server(wishes: &Path) -> String {
    use sha2::Digest as _;
    let dir = wishes.canonicalize().unwrap_or_default();
    hex::encode(&sha2::Sha256::digest(dir.as_os_str().as_encoded_bytes())[..4])
}
