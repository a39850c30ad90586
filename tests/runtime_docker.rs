//! The Docker runtime on trial: the contract, and what only it promises. Needs a Docker daemon and the image of the stack
//! `debian-12`; `tests/setup` sees to both, and says so where it cannot.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use gigalixir::server::domain::*;
use gigalixir::server::runtime::Runtime;
use gigalixir::server::runtime::docker::{Docker, DockerConfig};
use tempfile::TempDir;

use crate::harness::docker;
use crate::runtime_contract::{Folder, Stage, collect};

crate::runtime_contract! {
    OnDocker:
    becomes_ready_answers_and_goes
    scales_up_and_down_highest_first
    generations_stand_beside_each_other
    one_is_replaced_and_the_others_stay
    an_end_is_seen_told_and_followed_by_a_new_run
    what_runs_stays_and_what_starts_anew_is_as_was_said_last
    too_much_memory_is_an_oom_kill
    the_environment_is_whole_and_literal
    what_does_not_listen_is_not_ready
    sigterm_first_and_sigkill_after_the_grace
    output_is_whole_and_in_order
    a_new_server_takes_over
    instances_are_apart
    a_missing_slug_is_an_error_and_nothing_runs
    what_runs_once_is_not_started_anew
    words_stay_words
    what_runs_once_has_limits
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
            socket: docker::SOCKET.into(),
            dir: self.wishes(),
            images: BTreeMap::from([(Stack::parse("debian-12").unwrap(), docker::image())]),
            subnets: "10.220.0.0/14".parse().unwrap(),
            directory: None,
        };
        let slugs = Arc::new(Folder(self.data.path().join("slugs")));
        self.docker = Some(Docker::start(config, slugs, collect(8, self.log.clone())).await.unwrap());
    }
}

impl Stage for OnDocker {
    fn is_there() -> bool {
        docker::is_there(Path::new(env!("CARGO_BIN_EXE_gigalixir")))
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
        docker::sweep(&docker::server(&self.wishes()));
    }
}
