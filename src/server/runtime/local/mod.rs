//! Apps on this very machine, with nothing installed but bubblewrap.
//!
//! Each replica has a folder, a shim that outlives the server, a sandbox and a control group. What shall run lies on disk
//! before `apply` returns; a server that starts takes over what lives and mends what does not. There is one server per
//! folder at a time (its data folder is locked by whoever starts it).
//!
//! Deliberately absent: a network per replica (see `shim/sandbox.rs`).

mod dist_ports;
mod exec;
mod folder;
mod generation;
pub mod inside;
mod link;
mod output;
mod protocol;
mod replica;
mod shared;
pub mod shim;
mod slots;
mod spool;
mod terminal;
mod variables;

use std::collections::HashSet;
use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio::sync::broadcast;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::dist_ports::DistPorts;
use self::generation::Generation;
use self::shared::Shared;
use self::slots::Slots;
use super::directory::Directory;
use super::generations::Generations;
use super::roster::Roster;
use super::session::{Command, Session, Stream};
use super::{Cpu, InstanceEvent, Lines, Load, Runtime, RuntimeError, SlugSource, machine};
use crate::server::confine::bubblewrap::Bubblewrap;
use crate::server::confine::cgroup::{Cgroup, Cgroups};
use crate::server::domain::{Instance, Machine, Workload, WorkloadId};

/// How long a start waits to know how the replicas are that it took over.
const SETTLING: Duration = Duration::from_millis(500);

/// The apps together against builds and whatever else runs beside them: visitors come first.
const APPS_CPU_MILLI: u64 = 20_000;

/// Where and how.
#[derive(Debug, Clone)]
pub struct LocalConfig {
    /// Its folder, `DATA/replicas`; on the file system of the slugs, best.
    pub dir: PathBuf,
    /// The program that has the subcommand `shim`: [`LocalConfig::THIS_PROGRAM`] but in tests.
    pub program: PathBuf,
    /// Where replicas ask who else there is of their app.
    pub directory: Option<Directory>,
}

impl LocalConfig {
    /// The running program itself, also after its file was replaced.
    pub const THIS_PROGRAM: &str = "/proc/self/exe";
}

/// The runtime of this machine.
pub struct Local {
    dir: PathBuf,
    shared: Arc<Shared>,
    generations: Generations,
}

impl Drop for Local {
    fn drop(&mut self) {
        if let Some(cgroups) = &self.shared.cgroups {
            cgroups.leave();
        }
    }
}

impl Local {
    /// Takes over what runs in the folder, restarts what should and does not, removes what is half made. Output goes to
    /// `logs`; while that is full, it waits on disk.
    pub async fn start(
        config: LocalConfig,
        slugs: Arc<dyn SlugSource>,
        logs: Lines,
    ) -> Result<Arc<Self>, RuntimeError> {
        let unusable = |source| RuntimeError::Io { context: format!("using {}", config.dir.display()), source };
        probe().await.map_err(RuntimeError::Unavailable)?;
        folder::make(&config.dir).map_err(unusable)?;
        let dir = config.dir.canonicalize().map_err(unusable)?;
        let cgroups = cgroups(&dir);
        let shared = Arc::new(Shared {
            program: config.program,
            cgroups,
            slugs,
            slots: Slots::default(),
            dist_ports: DistPorts::default(),
            directory: config.directory,
            roster: Roster::new(logs),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
        });
        let generations = Generations::new(shared.tasks.clone());
        let local = Arc::new(Self { dir, shared, generations });
        local.take_over().await.map_err(unusable)?;
        Ok(local)
    }

    /// Leaves the replicas running, ends the sessions beside them, and returns when nothing of this server touches
    /// anything any more: a successor can start.
    pub async fn close(&self) {
        self.shared.closing.cancel();
        self.generations.close().await;
    }

    async fn take_over(&self) -> io::Result<()> {
        let mut settling = Vec::new();
        for folder in folder::folders(&self.dir)? {
            let workload = folder::read_json::<Workload>(&folder.join(folder::WORKLOAD)).ok();
            let id = workload
                .as_ref()
                .map(|workload| workload.id.clone())
                .or_else(|| folder::generation_of(folder.file_name()?.to_str()?));
            let Some(id) = id else {
                tracing::warn!("{} is not a folder of ours and is left alone", folder.display());
                continue;
            };
            let mut generation = Generation::new(self.shared.clone(), &self.dir, id.clone());
            settling.extend(generation.adopt(workload.as_ref())?);
            self.generations.begin(&id, |inbox| async move {
                let begun = match &workload {
                    Some(workload) => generation.follow(workload).await,
                    None => generation.remove(generation::GRACE).await,
                };
                if let Err(error) = begun {
                    tracing::error!("a generation could not be taken over whole: {error}");
                }
                generation.obey(inbox).await;
            });
        }
        self.sweep_cgroups();
        let known = async {
            for settled in settling {
                let _ = settled.await;
            }
        };
        let _ = timeout(SETTLING, known).await;
        Ok(())
    }

    /// Ends what runs in control groups of ours without a folder.
    fn sweep_cgroups(&self) {
        let Some(cgroups) = &self.shared.cgroups else { return };
        let known: HashSet<String> = self.shared.roster.instances().keys().cloned().collect();
        for name in cgroups.list().into_iter().filter(|name| !known.contains(name)) {
            let cgroup = cgroups.open(&name);
            tracing::warn!("a control group without a replica, {name}, is removed");
            if let Err(error) = cgroup.kill_all().and_then(|()| cgroup.remove()) {
                tracing::error!("the control group {name} cannot be removed: {error}");
            }
        }
    }

    /// The folder of an instance that runs.
    fn folder_of(&self, instance: &str) -> Result<PathBuf, RuntimeError> {
        let known = self.shared.roster.running(instance)?;
        Ok(self.dir.join(folder::generation_name(&known.workload)).join(&known.name))
    }
}

#[async_trait]
impl Runtime for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    async fn apply(&self, workload: &Workload) -> Result<(), RuntimeError> {
        let begin = |inbox| Generation::new(self.shared.clone(), &self.dir, workload.id.clone()).obey(inbox);
        self.generations.apply(workload, begin).await
    }

    async fn remove(&self, id: &WorkloadId, grace: Duration) -> Result<(), RuntimeError> {
        self.generations.remove(id, grace).await
    }

    async fn replace(&self, id: &WorkloadId, name: &str, grace: Duration) -> Result<bool, RuntimeError> {
        self.generations.replace(id, name, grace).await
    }

    async fn instances(&self) -> Result<Vec<Instance>, RuntimeError> {
        Ok(self.shared.roster.all())
    }

    async fn exec(&self, instance: &str, command: Command) -> Result<Session, RuntimeError> {
        let dir = self.folder_of(instance)?;
        match exec::exec(&self.shared, dir, command).await {
            Ok(Some(session)) => Ok(session),
            Ok(None) => Err(RuntimeError::NotRunning(instance.to_owned())),
            Err(source) => Err(RuntimeError::Io { context: format!("starting a program in {instance}"), source }),
        }
    }

    async fn connect(&self, instance: &str, port: u16) -> Result<Box<dyn Stream>, RuntimeError> {
        let dir = self.folder_of(instance)?;
        let failed = |source| RuntimeError::Io { context: format!("connecting to port {port} of {instance}"), source };
        let spec: folder::Spec = folder::read_json(&dir.join(folder::SPEC)).map_err(failed)?;
        let port = super::erlang::own_port(&spec.env, port);
        let hosts = [spec.ip(), IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        let addresses = hosts.map(|host| SocketAddr::new(host, port));
        let stream = TcpStream::connect(addresses.as_slice()).await.map_err(failed)?;
        Ok(Box::new(stream))
    }

    async fn load(&self, instance: &str) -> Result<Option<Load>, RuntimeError> {
        let spec = self.folder_of(instance)?.join(folder::SPEC);
        let failed = |source| RuntimeError::Io { context: format!("reading {}", spec.display()), source };
        let spec: folder::Spec = folder::read_json(&spec).map_err(failed)?;
        let group = Cgroup::at(spec.cgroup);
        Ok(group.memory_bytes().map(|memory| Load { memory, cpu: group.cpu_time().map(Cpu::Time) }))
    }

    async fn machines(&self) -> Result<Vec<Machine>, RuntimeError> {
        Ok(vec![machine::this_one([])])
    }

    fn watch(&self) -> broadcast::Receiver<InstanceEvent> {
        self.shared.roster.watch()
    }
}

/// Whether sandboxes can be made here at all; better said now than by every replica.
async fn probe() -> Result<(), String> {
    let mut command = std::process::Command::new(Bubblewrap::find()?);
    Bubblewrap::isolated().system().run_in(&mut command, "/bin/bash", ["-c", "exit"].map(OsString::from));
    let output = tokio::process::Command::from(command).output().await.map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "bubblewrap cannot make a sandbox on this machine ({}): unprivileged user namespaces must be allowed (`sysctl \
         kernel.unprivileged_userns_clone`, `kernel.apparmor_restrict_unprivileged_userns`, or the container's policy)",
        String::from_utf8_lossy(&output.stderr).trim()
    ))
}

/// The control groups of a folder: of its own name, so that servers do not meddle with each other's.
fn cgroups(dir: &Path) -> Option<Cgroups> {
    let digest = Sha256::digest(dir.as_os_str().as_encoded_bytes());
    let weighed = |cgroups: &Cgroups| drop(cgroups.weigh(APPS_CPU_MILLI));
    Cgroups::detect(&format!("gigalixir-{}", hex::encode(&digest[..4])))
        .inspect_err(|why| {
            tracing::warn!(
                "replicas are NOT bounded together: memory is limited per process only, CPU not at all, and processes \
                 are found by their parents. {why}"
            );
        })
        .inspect(weighed)
        .ok()
}
