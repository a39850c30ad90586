//! A server on a port of its own, a recording end of the pipeline, and `git` in a home of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::http::{HeaderValue, StatusCode};
use base64::Engine;
use tokio::sync::Notify;

use crate::server::domain::{AppName, Email, Push};
use crate::server::http::git::{self, Admits, Door, Refusal};
use crate::server::progress::Progress;
use crate::server::receiver::{Checkout, Deploys, Limits, Receiver};

/// What a deploy in these tests does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Succeed,
    Fail,
    /// Promotes and moves the ref itself, as the pipeline does.
    Commit,
    /// Says a line and waits until it is cancelled.
    Hang,
}

/// A deploy that was asked for: the push, and the checkout's files with their contents (links as `-> target`).
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) push: Push,
    pub(super) files: BTreeMap<String, String>,
    pub(super) executable: BTreeSet<String>,
}

pub(super) struct Recorder {
    pub(super) act: Mutex<Act>,
    pub(super) seen: Mutex<Vec<Seen>>,
    pub(super) running: Mutex<(usize, usize)>,
    pub(super) cancelled: Notify,
    pub(super) started: Notify,
    pub(super) pause: Mutex<Duration>,
    receiver: Arc<Receiver>,
}

#[async_trait]
impl Deploys for Recorder {
    async fn deploy(&self, push: Push, source: Checkout, progress: &Progress) -> Result<(), String> {
        let mut seen = Seen { push: push.clone(), files: BTreeMap::new(), executable: BTreeSet::new() };
        list(source.path(), source.path(), &mut seen);
        self.seen.lock().unwrap().push(seen);
        {
            let mut running = self.running.lock().unwrap();
            running.0 += 1;
            running.1 = running.1.max(running.0);
        }
        self.started.notify_one();
        progress.line("building").await;
        let pause = *self.pause.lock().unwrap();
        tokio::time::sleep(pause).await;
        let act = *self.act.lock().unwrap();
        if act == Act::Hang {
            progress.cancelled().cancelled().await;
            self.cancelled.notify_one();
        }
        self.running.lock().unwrap().0 -= 1;
        match act {
            Act::Succeed => Ok(()),
            Act::Commit => {
                source.promote().await.unwrap();
                source.promote().await.unwrap();
                for _ in 0..2 {
                    self.receiver.move_ref(&push.app, &push.reference, &push.commit).await.unwrap();
                }
                Ok(())
            }
            Act::Fail | Act::Hang => {
                progress.line("the build broke").await;
                Err("build failed".to_owned())
            }
        }
    }
}

fn list(top: &Path, folder: &Path, seen: &mut Seen) {
    use std::os::unix::fs::PermissionsExt;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(top).unwrap().to_string_lossy().into_owned();
        let metadata = path.symlink_metadata().unwrap();
        if metadata.is_symlink() {
            seen.files.insert(name, format!("-> {}", path.read_link().unwrap().display()));
        } else if metadata.is_dir() {
            list(top, &path, seen);
        } else {
            if metadata.permissions().mode() & 0o111 != 0 {
                seen.executable.insert(name.clone());
            }
            seen.files.insert(name, String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned());
        }
    }
}

/// Lets `me@example.com:key` and `you@example.com:key` into every app whose name begins with `my`, and everybody read
/// `my-public-…`; nobody once it is shut.
#[derive(Default)]
pub(super) struct Guard {
    shut: AtomicBool,
}

#[async_trait]
impl Admits for Guard {
    async fn admit(&self, header: Option<&HeaderValue>, app: &str, write: bool) -> Result<(AppName, Email), Refusal> {
        let refusal = |status, message: &str| Refusal { status, message: message.to_owned() };
        let known = |email: &&str| {
            let right = base64::engine::general_purpose::STANDARD.encode(format!("{email}:key"));
            header.is_some_and(|header| header.as_bytes() == format!("Basic {right}").as_bytes())
        };
        let who = ["me@example.com", "you@example.com"].into_iter().find(known);
        let public = app.starts_with("my-public") && !write;
        if who.is_none() && !public {
            return Err(refusal(StatusCode::UNAUTHORIZED, "who are you?"));
        }
        match AppName::parse(app) {
            Ok(name) if app.starts_with("my") && !self.shut.load(Relaxed) => {
                Ok((name, Email::parse(who.unwrap_or("me@example.com")).unwrap()))
            }
            _ => Err(refusal(StatusCode::NOT_FOUND, "no such app")),
        }
    }
}

/// The server, and a folder for everything of one test.
pub(super) struct House {
    pub(super) dir: tempfile::TempDir,
    pub(super) deploys: Arc<Recorder>,
    pub(super) guard: Arc<Guard>,
    pub(super) port: u16,
}

pub(super) async fn house() -> House {
    house_with(Limits::default()).await
}

pub(super) async fn house_with(limits: Limits) -> House {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::open(dir.path().join("repositories"), limits).unwrap();
    let deploys = Arc::new(Recorder {
        act: Mutex::new(Act::Succeed),
        seen: Mutex::default(),
        running: Mutex::default(),
        cancelled: Notify::new(),
        started: Notify::new(),
        pause: Mutex::default(),
        receiver: Arc::clone(&receiver),
    });
    let guard = Arc::new(Guard::default());
    let (receiver, admits) = (Arc::clone(&receiver), Arc::clone(&guard) as _);
    let door = Door { receiver, deploys: Arc::clone(&deploys) as _, admits };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, git::routes::<()>(door)).await.unwrap() });
    std::fs::create_dir(dir.path().join("home")).unwrap();
    House { dir, deploys, guard, port }
}

impl House {
    pub(super) fn url(&self, app: &str) -> String {
        self.url_of("me", app)
    }

    pub(super) fn url_of(&self, person: &str, app: &str) -> String {
        format!("http://{person}%40example.com:key@127.0.0.1:{}/{app}.git", self.port)
    }

    /// From now on nobody is let in.
    pub(super) fn shut(&self) {
        self.guard.shut.store(true, Relaxed);
    }

    pub(super) fn act(&self, act: Act) {
        *self.deploys.act.lock().unwrap() = act;
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.deploys.seen.lock().unwrap().clone()
    }

    /// A bare repository on the server.
    pub(super) fn repository(&self, app: &str) -> PathBuf {
        self.dir.path().join(format!("repositories/{app}.git"))
    }

    /// A new working copy with one commit, its remote `gigalixir` being `app`.
    pub(super) fn working_copy(&self, name: &str, app: &str) -> Work {
        let path = self.dir.path().join(name);
        std::fs::create_dir(&path).unwrap();
        let work = Work { path, home: self.dir.path().join("home") };
        work.ok(&["init", "-q", "-b", "master"]);
        work.ok(&["remote", "add", "gigalixir", &self.url(app)]);
        work.commit("README", "hello\n");
        work
    }

    /// What is left of pushes besides the repository itself.
    pub(super) fn leftovers(&self, app: &str) -> Vec<String> {
        let mut left = Vec::new();
        for folder in [self.repository(app).join("objects"), self.dir.path().join("repositories/.work")] {
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let name = entry.unwrap().file_name().to_string_lossy().into_owned();
                if !["pack", "info"].contains(&name.as_str()) {
                    left.push(name);
                }
            }
        }
        left
    }

    pub(super) fn packs(&self, app: &str) -> usize {
        let files = std::fs::read_dir(self.repository(app).join("objects/pack")).unwrap();
        files.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|end| end == "pack")).count()
    }

    /// Waits until `done`; a test that waits longer than this has failed.
    pub(super) async fn until(&self, what: &str, done: impl Fn() -> bool) {
        for _ in 0..500 {
            if done() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("waited in vain until {what}");
    }
}

/// A folder in which `git` runs.
pub(super) struct Work {
    pub(super) path: PathBuf,
    pub(super) home: PathBuf,
}

impl Work {
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        command.current_dir(&self.path).args(arguments).env_clear().stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", &self.home);
        command.env("GIT_CONFIG_GLOBAL", self.home.join("gitconfig")).env("GIT_CONFIG_NOSYSTEM", "1");
        command.env("GIT_TERMINAL_PROMPT", "0");
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "Me").env(format!("GIT_{role}_EMAIL"), "me@example.com");
        }
        command
    }

    pub(super) fn run(&self, arguments: &[&str]) -> (bool, String) {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        (status.success(), String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr))
    }

    /// Runs what must succeed.
    pub(super) fn ok(&self, arguments: &[&str]) -> String {
        let (ok, text) = self.run(arguments);
        assert!(ok, "git {arguments:?}: {text}");
        text.trim_end().to_owned()
    }

    /// Runs what must fail.
    pub(super) fn fails(&self, arguments: &[&str]) -> String {
        let (ok, text) = self.run(arguments);
        assert!(!ok, "git {arguments:?} succeeded: {text}");
        text
    }

    pub(super) fn write(&self, name: &str, content: &str) {
        let path = self.path.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub(super) fn commit(&self, name: &str, content: &str) -> String {
        self.write(name, content);
        self.commit_all(name)
    }

    pub(super) fn commit_all(&self, message: &str) -> String {
        self.ok(&["add", "-A"]);
        self.ok(&["commit", "-q", "-m", message]);
        self.ok(&["rev-parse", "HEAD"])
    }

    /// Random content, so that nothing compresses: `bytes` in files of 64 kB.
    pub(super) fn bulk(&self, folder: &str, bytes: usize) {
        use rand::Rng;
        for n in 0..bytes.div_ceil(65536) {
            let mut content = vec![0; 65536];
            rand::rng().fill_bytes(&mut content);
            let path = self.path.join(folder).join(n.to_string());
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
    }
}
