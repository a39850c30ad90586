//! Builds on this machine, under bubblewrap, in a cgroup of their own.
//!
//! Where no cgroup can be made, memory is bounded per process only, and processes per user.

use std::process::Command;

use async_trait::async_trait;
use tokio::net::unix::pipe::Receiver;

use super::running::Running;
use super::usage::Usage;
use super::{Bound, Ending, ID, Job, Sandbox, relay};
use crate::server::confine::Limits;
use crate::server::confine::bubblewrap::Bubblewrap;
use crate::server::confine::cgroup::{Cgroup, Cgroups};
use crate::server::confine::enter::{Limit, enter_command};
use crate::server::progress::Progress;

/// Files a job may have open, as on a usual machine.
const OPEN_FILES: u64 = 65_536;

/// Runs jobs with `bwrap`.
#[derive(Debug)]
pub struct BubblewrapSandbox {
    cgroups: Option<Cgroups>,
}

impl BubblewrapSandbox {
    /// With cgroups, if the machine lets us make some.
    pub fn new(cgroups: Option<Cgroups>) -> Self {
        Self { cgroups }
    }

    fn cgroup(&self, job: &Job) -> Result<Option<Cgroup>, String> {
        let limits = Limits {
            memory_bytes: Some(job.bounds.memory_bytes),
            cpu_milli: Some(job.bounds.cpu_milli),
            pids: Some(job.bounds.processes),
        };
        let create = |cgroups: &Cgroups| cgroups.create(&job.name, &limits);
        self.cgroups.as_ref().map(create).transpose().map_err(|error| format!("no control group can be made: {error}"))
    }
}

#[async_trait]
impl Sandbox for BubblewrapSandbox {
    /// Its processes died with the server; the cgroups are left.
    async fn clear(&self, prefix: &str) {
        let all = self.cgroups.iter().flat_map(|all| all.list().into_iter().map(|name| (all.open(&name), name)));
        for (group, _) in all.filter(|(_, name)| name.starts_with(prefix)) {
            if let Err(error) = group.kill_all().and_then(|()| group.remove()) {
                tracing::warn!(%error, "an earlier build's control group cannot be cleared away");
            }
        }
    }

    async fn run(&self, job: Job, progress: &Progress) -> Result<Ending, String> {
        let cgroup = self.cgroup(&job)?;
        let usage = Usage::new(&job, cgroup.as_ref().map(|cgroup| cgroup.paths().to_vec()).unwrap_or_default());

        let command = command(&job, cgroup.as_ref());
        let (running, output) = Running::start(&job.name, command, cgroup).await.map_err(refused)?;
        let output = Receiver::from_owned_fd(output.into()).map_err(refused)?;
        let stopped = tokio::select! {
            ended = relay(output, progress, job.bounds.output_bytes) => ended.map_err(refused)?,
            bound = usage.watch() => Some(Ending::Hit(bound)),
            () = tokio::time::sleep(job.bounds.time) => Some(Ending::Hit(Bound::Time)),
            () = progress.cancelled().cancelled() => Some(Ending::Cancelled),
        };
        if stopped.is_some() {
            running.kill();
        }
        let end = running.end().await.map_err(refused)?;
        if let Some(ending) = stopped {
            return Ok(ending);
        }
        let full = tokio::task::spawn_blocking(move || usage.disk_is_full()).await.map_err(refused)?;
        Ok(match end.code {
            _ if full => Ending::Hit(Bound::Disk),
            0 => Ending::Exited(0),
            _ if end.out_of_memory => Ending::Hit(Bound::Memory),
            _ if end.refused_forks > 0 => Ending::Hit(Bound::Processes),
            code => Ending::Exited(code),
        })
    }
}

fn command(job: &Job, cgroup: Option<&Cgroup>) -> Command {
    let mut sandbox = Bubblewrap::isolated().system().identity(ID, ID).hostname("build").die_with_parent();
    for folder in &job.folders {
        sandbox = match folder.writable {
            true => sandbox.bind(&folder.host, &folder.inside),
            false => sandbox.ro_bind(&folder.host, &folder.inside),
        };
    }
    for (name, value) in &job.env {
        sandbox = sandbox.setenv(name, value);
    }
    let mut rlimits = vec![(Limit::FileSize, job.bounds.disk_bytes), (Limit::OpenFiles, OPEN_FILES), (Limit::Core, 0)];
    if cgroup.is_none() {
        rlimits.push((Limit::Data, job.bounds.memory_bytes));
        rlimits.push((Limit::Processes, job.bounds.processes.into()));
    }
    let mut command = enter_command(cgroup, &rlimits, Bubblewrap::PROGRAM);
    let args = job.args.iter().map(Into::into);
    sandbox.remount_ro("/").chdir(&job.workdir).run_in(&mut command, &job.program, args);
    command
}

fn refused(error: impl std::fmt::Display) -> String {
    format!("the sandbox cannot be started: {error}")
}
