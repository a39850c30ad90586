//! A builder in a folder of its own, apps made of a few files, and what a build said.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use flate2::read::GzDecoder;
use tempfile::TempDir;
use url::Url;

use super::docker;
use crate::server::builder::{
    BubblewrapSandbox, BuildError, BuildRequest, Builder, BuilderConfig, BuiltSlug, DockerBuilds, DockerSandbox,
    GitSource, Sandbox, StackImages,
};
use crate::server::confine::cgroup::Cgroups;
use crate::server::docker::{Pin, Use};
use crate::server::domain::{AppName, Stack};
use crate::server::progress::{Listener, Progress};

/// A git source without git: the folder whose name is the last of the address, while it exists.
pub(super) struct Folders(pub PathBuf);

#[async_trait]
impl GitSource for Folders {
    async fn fetch(&self, url: &Url, reference: Option<&str>, into: &Path) -> Result<(), String> {
        let name = url.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default();
        let from = self.0.join(name).join(reference.unwrap_or("main"));
        let status = std::process::Command::new("cp").arg("-a").arg(from.join(".")).arg(into).status();
        if status.is_ok_and(|status| status.success()) { Ok(()) } else { Err("no such repository".to_owned()) }
    }
}

/// Makes a test of each case for each sandbox.
macro_rules! in_every_sandbox {
    ($($case:ident)*) => {
        mod bubblewrap {
            $(
                #[tokio::test]
                async fn $case() {
                    super::$case(super::Bench::new()).await;
                }
            )*
        }
        mod docker {
            $(
                #[tokio::test]
                async fn $case() {
                    if let Some(bench) = super::Bench::in_docker() {
                        super::$case(bench).await;
                    }
                }
            )*
        }
    };
}
pub(super) use in_every_sandbox;

const STACK: &str = "test-1";

/// Everything one test needs, removed with it.
pub(super) struct Bench {
    in_docker: bool,
    /// What may pass beyond the job's own time: Docker takes its own to make and remove a container.
    pub(super) patience: Duration,
    pub(super) dir: TempDir,
    pub(super) config: BuilderConfig,
    pub(super) env: BTreeMap<String, String>,
    pub(super) clean: bool,
    builds: std::sync::atomic::AtomicU32,
}

impl Bench {
    pub(super) fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let mut config = BuilderConfig::new(dir.path().join("builder"));
        config.buildpacks_dir = Some(dir.path().join("packs"));
        let (env, patience) = (BTreeMap::new(), Duration::ZERO);
        Self { in_docker: false, patience, dir, config, env, clean: false, builds: 0.into() }
    }

    /// One whose builds are made in Docker, where there is one.
    pub(super) fn in_docker() -> Option<Self> {
        let tests = std::env::current_exe().unwrap();
        let program = tests.parent().and_then(Path::parent).unwrap().join("gigalixir");
        docker::is_there(&program).then(|| {
            let mut bench = Self::new();
            (bench.in_docker, bench.patience) = (true, Duration::from_secs(10));
            bench
        })
    }

    /// `sleep` for the better part of an hour, known from that of any other test.
    pub(super) fn nap(&self, seconds: u32) -> String {
        let name = self.dir.path().file_name().unwrap().as_encoded_bytes();
        let own = name.iter().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()));
        format!("sleep {seconds}.{own}")
    }

    pub(super) async fn sandbox(&self) -> Arc<dyn Sandbox> {
        if !self.in_docker {
            return Arc::new(BubblewrapSandbox::new(Some(self.cgroups())));
        }
        let pin = |of| Pin::new(STACK, of, docker::image().parse().unwrap());
        let images = StackImages { run: pin(Use::Run), build: pin(Use::Build), made_by: None };
        let settings = DockerBuilds {
            socket: docker::SOCKET.into(),
            server: self.server(),
            subnets: "10.220.0.0/14".parse().unwrap(),
            stacks: BTreeMap::from([(Stack::parse(STACK).unwrap(), images)]),
        };
        Arc::new(DockerSandbox::open(settings).await.unwrap())
    }

    fn server(&self) -> String {
        docker::server(&self.path("docker"))
    }

    /// A container as a killed server leaves it.
    pub(super) fn leave_behind(&self, job: &str) {
        let labels = [format!("gigalixir.server={}", self.server()), format!("gigalixir.build={job}")];
        let mut run = std::process::Command::new("docker");
        run.args(["run", "-d", "--network", "none", "--label", &labels[0], "--label", &labels[1], &docker::image()]);
        assert!(run.args(["sleep", "1000"]).output().unwrap().status.success());
    }

    /// How many jobs' control groups or containers there are.
    pub(super) fn left(&self) -> usize {
        if self.in_docker { docker::containers(&self.server()).len() } else { self.cgroups().list().len() }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A pack of these scripts, as a folder; returns its path.
    pub(super) fn pack(&self, name: &str, scripts: &[(&str, &str)]) -> PathBuf {
        let folder = self.path("packs").join(name);
        for (script, text) in [("detect", "echo Test"), ("compile", ":")].iter().chain(scripts) {
            write(&folder.join("bin").join(script), &format!("#!/bin/bash\n{text}\n"), 0o755);
        }
        folder
    }

    pub(super) async fn builder(&self) -> Builder {
        let (sandbox, git) = (self.sandbox().await, Arc::new(Folders(self.path("repos"))));
        Builder::open(self.config.clone(), sandbox, git).await.unwrap()
    }

    pub(super) fn cgroups(&self) -> Cgroups {
        let name = self.dir.path().file_name().unwrap().to_string_lossy().replace('.', "");
        Cgroups::detect(&format!("gigalixir-test-{name}")).expect("these tests need control groups")
    }

    /// A fresh checkout of these files.
    pub(super) fn app(&self, files: &[(&str, &str)]) -> PathBuf {
        let count = self.builds.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let folder = self.path(&format!("app-{count}"));
        fs::create_dir(&folder).unwrap();
        files.iter().for_each(|(name, text)| write(&folder.join(name), text, 0o644));
        folder
    }

    pub(super) fn request(&self, source: PathBuf) -> BuildRequest {
        BuildRequest {
            app: AppName::parse("my-app").unwrap(),
            sha: "0".repeat(40),
            source,
            cache: self.path("cache"),
            env: self.env.clone(),
            stack: Stack::parse(STACK).unwrap(),
            clean: self.clean,
        }
    }

    /// Builds these files; returns the end and all that was said.
    pub(super) async fn build(&self, files: &[(&str, &str)]) -> (Result<BuiltSlug, BuildError>, String) {
        self.build_tree(self.app(files)).await
    }

    pub(super) async fn build_tree(&self, source: PathBuf) -> (Result<BuiltSlug, BuildError>, String) {
        let (builder, request) = (self.builder().await, self.request(source));
        let (progress, listener) = Progress::channel();
        let said = tokio::spawn(listen(listener));
        let built = builder.build(request, &progress).await;
        drop(progress);
        let said = said.await.unwrap();
        eprintln!("{said}\n=> {built:?}");
        (built, said)
    }

    /// Builds an app whose only pack has this `bin/compile`.
    pub(super) async fn compile(&self, script: &str) -> (Result<BuiltSlug, BuildError>, String) {
        let pack = self.pack("only", &[("compile", script)]);
        self.build(&[(".buildpacks", pack.to_str().unwrap()), ("Procfile", "web: x")]).await
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if self.in_docker {
            return docker::sweep(&self.server());
        }
        // The parent of the builds' groups, which are gone.
        for folder in self.cgroups().open("x").paths() {
            let _ = fs::remove_dir(folder.parent().unwrap());
        }
    }
}

async fn listen(mut listener: Listener) -> String {
    let mut said = Vec::new();
    while let Some(chunk) = listener.output.recv().await {
        said.extend_from_slice(&chunk);
    }
    String::from_utf8_lossy(&said).into_owned()
}

pub(super) fn write(path: &Path, text: &str, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The slug's files: name → text.
pub(super) fn unpacked(slug: &BuiltSlug) -> BTreeMap<String, String> {
    let mut tar = tar::Archive::new(GzDecoder::new(fs::File::open(&slug.archive).unwrap()));
    let entries = tar.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut text = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut text).unwrap();
        let name = entry.path().unwrap().to_string_lossy().trim_start_matches("./").to_owned();
        (name, String::from_utf8_lossy(&text).into_owned())
    });
    entries.collect()
}
