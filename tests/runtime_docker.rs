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

crate::runtime_contract!(OnDocker);

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

    fn without() -> &'static [(&'static str, &'static str)] {
        &[("any_address_of_the_port_counts", "a container is reached by its own address, not by its loopback")]
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
