//! `gigalixir server`, the real binary, on ports of its own.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use super::cluster::Cluster;
use super::processes::{children_of_data, kill};
use super::{Answer, docker, get};

/// How long the server may take to say that it is ready.
const READY: Duration = Duration::from_secs(20);

/// A running platform. Dropping it ends the server and every replica.
pub struct Server {
    folder: TempDir,
    child: Child,
    config: String,
    log: Arc<Mutex<Vec<String>>>,
    /// Where its apps run, if not on this machine.
    cluster: Option<Cluster>,
    pub api: SocketAddr,
    pub http: SocketAddr,
    /// Port 0 when there is no TLS.
    pub https: SocketAddr,
    pub ssh: SocketAddr,
}

impl Server {
    /// A platform with the defaults.
    pub fn start() -> Self {
        Self::with_config("")
    }

    /// A platform with lines of `server.toml` of its own.
    pub fn with_config(config: &str) -> Self {
        Self::reached_at([127, 0, 0, 1].into(), config)
    }

    /// A platform whose apps run in a cluster, in namespaces of its own.
    pub fn in_cluster(cluster: Cluster, config: &str) -> Self {
        let config = format!(
            "runtime = \"kubernetes\"\n{config}\n[kubernetes]\nkubeconfig = {:?}\nnamespace_prefix = \"p{}-\"\n\
             [deploy]\nhealth_seconds = 100\n",
            cluster.kubeconfig,
            std::process::id(),
        );
        let mut server = Self::reached_at([0, 0, 0, 0].into(), &config);
        server.cluster = Some(cluster);
        server
    }

    /// The same, with an API and a router that others than this machine reach.
    pub fn reached_at(ip: IpAddr, config: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("gigalixir-test-").tempdir().expect("folder");
        let log = Arc::default();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (child, (api, http, https, ssh)) =
            spawn(folder.path(), config, (SocketAddr::new(ip, 0), SocketAddr::new(ip, 0), any, any), None, &log)
                .expect("server starts");
        Self { folder, child, config: config.to_owned(), log, cluster: None, api, http, https, ssh }
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The cluster that its apps run in, and the namespace of one of them.
    pub fn in_namespace(&self, app: &str) -> (&Cluster, String) {
        (self.cluster.as_ref().expect("a cluster"), format!("p{}-{app}", std::process::id()))
    }

    /// Where its stacks are described.
    pub fn stacks(&self) -> PathBuf {
        self.folder.path().join("stacks")
    }

    /// What `GIGALIXIR_HOST` should be.
    pub fn url(&self) -> String {
        format!("http://{}", self.api)
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// `GET /PATH` as a visitor of `app`.
    pub fn visit(&self, app: &str, path: &str) -> Answer {
        get(self.http, &format!("{app}.localhost"), path)
    }

    /// Other lines of `server.toml` from the next start on.
    pub fn reconfigure(&mut self, config: &str) {
        self.config = config.to_owned();
    }

    /// Writes them at once, for a server that reads them anew.
    pub fn write_config(&self) {
        std::fs::write(self.folder.path().join("server.toml"), &self.config).expect("config");
    }

    /// Everything the server has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("log").join("\n")
    }

    /// `kill -9`, and waits for the end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM; returns the exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        kill(self.pid(), Signal::TERM);
        self.child.wait().expect("wait").code()
    }

    /// Starts it again on the same data and ports (after [`kill`](Self::kill) or [`terminate`](Self::terminate)).
    pub fn start_again(&mut self) {
        let ports = (self.api, self.http, self.https, self.ssh);
        let started = spawn(self.folder.path(), &self.config, ports, None, &self.log).expect("server starts");
        (self.child, (self.api, self.http, self.https, self.ssh)) = started;
    }

    /// The same, to die at a step of `gigalixir::server::steps`. False if it died at once: what an earlier server had
    /// left to do may pass that step too.
    pub fn start_again_crashing(&mut self, step: &str) -> bool {
        let ports = (self.api, self.http, self.https, self.ssh);
        let crash = Some(("GIGALIXIR_CRASH_AT", step));
        let started = spawn(self.folder.path(), &self.config, ports, crash, &self.log);
        let alive = started.is_ok();
        if let Ok(started) = started {
            (self.child, (self.api, self.http, self.https, self.ssh)) = started;
        }
        alive
    }

    /// The same, to stop (SIGSTOP) whenever it reaches a step.
    pub fn start_again_stopping(&mut self, step: &str) {
        let ports = (self.api, self.http, self.https, self.ssh);
        let stop = Some(("GIGALIXIR_STOP_AT", step));
        let started = spawn(self.folder.path(), &self.config, ports, stop, &self.log).expect("server starts");
        (self.child, (self.api, self.http, self.https, self.ssh)) = started;
    }

    /// Waits for the process to end by itself (a crash that was asked for).
    #[track_caller]
    pub fn wait_dead(&mut self, limit: Duration) {
        let end = Instant::now() + limit;
        while self.child.try_wait().expect("wait").is_none() {
            assert!(Instant::now() < end, "the server did not die; log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if let Some(cluster) = &self.cluster
            && let Ok(text) = std::fs::read_to_string(self.data().join("kubernetes/server.json"))
        {
            cluster.forget(text.trim_matches('"'));
        }
        if self.data().join("docker").exists() {
            docker::sweep(&docker::server(&self.data().join("docker")));
        }
        // Replicas outlive a server by design; a test's may not outlive the test.
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let left = children_of_data(self.folder.path());
            if left.is_empty() || Instant::now() > end {
                break;
            }
            left.iter().for_each(|(pid, _)| kill(*pid, Signal::KILL));
            std::thread::sleep(Duration::from_millis(20));
        }
        if std::thread::panicking() {
            eprintln!("--- server log ---\n{}", self.log());
        }
    }
}

/// Where the API, visitors, visitors over TLS and ssh are served.
type Ports = (SocketAddr, SocketAddr, SocketAddr, SocketAddr);

fn spawn(
    folder: &Path,
    config: &str,
    ports: Ports,
    step: Option<(&str, &str)>,
    log: &Arc<Mutex<Vec<String>>>,
) -> Result<(Child, Ports), String> {
    let file = folder.join("server.toml");
    std::fs::write(&file, config).map_err(|e| e.to_string())?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_gigalixir"));
    command.arg("server").arg("--config").arg(&file).arg("--data-dir").arg(folder.join("data"));
    command.args(["--api", &ports.0.to_string(), "--http", &ports.1.to_string()]);
    if !config.starts_with("runtime = ") {
        command.args(["--runtime", "local"]);
    }
    command.args(["--https", &ports.2.to_string(), "--ssh", &ports.3.to_string()]);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", folder);
    // Their one stack has an image of their own, which no other server takes for its.
    let stacks = folder.join("stacks");
    std::fs::create_dir_all(&stacks).map_err(|e| e.to_string())?;
    std::fs::write(stacks.join("debian-12.toml"), docker::stack()).map_err(|e| e.to_string())?;
    command.env("GIGALIXIR_DOCKER_STACKS_DIR", stacks);
    command.envs(step);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(|e| e.to_string())?;
    let stderr = child.stderr.take().expect("stderr is piped");
    let (tell, ready) = mpsc::channel();
    let log = log.clone();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if let Some(found) = addresses(&line) {
                let _ = tell.send(found);
            }
            log.lock().expect("log").push(line);
        }
    });
    // A server that dies closes its log, and with it this channel.
    match ready.recv_timeout(READY) {
        Ok(ports) => Ok((child, ports)),
        Err(_) => {
            let _ = child.kill();
            let _ = child.wait();
            Err("the server did not become ready".to_owned())
        }
    }
}

/// The server's `ready` line is JSON (stderr is no terminal) and names the addresses it serves.
fn addresses(line: &str) -> Option<Ports> {
    let json: serde_json::Value = serde_json::from_str(line).ok()?;
    let fields = json.get("fields")?;
    let address = |name: &str| fields.get(name)?.as_str()?.parse().ok();
    let https = address("https.address").unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
    Some((address("api.address")?, address("http.address")?, https, address("ssh.address")?))
}
