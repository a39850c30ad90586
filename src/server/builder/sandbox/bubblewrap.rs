//! Builds on this machine, under bubblewrap, in a cgroup of their own.
//!
//! The thread that starts a job waits for it: bubblewrap is told to die with that very thread, so a server that is
//! killed leaves no build behind. Where no cgroup can be made, memory is bounded per process only.

use std::io::{PipeReader, pipe};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

use async_trait::async_trait;
use bytes::BytesMut;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::oneshot;

use super::usage::Usage;
use super::{Bound, Ending, Job, Sandbox};
use crate::server::confine::Limits;
use crate::server::confine::bubblewrap::Bubblewrap;
use crate::server::confine::cgroup::{Cgroup, Cgroups};
use crate::server::confine::enter::{Limit, enter_command};
use crate::server::progress::Progress;

/// The user inside; it owns what the server owns, and nothing else is there.
const ID: u32 = 1000;

/// Files a job may have open, as on a usual machine.
const OPEN_FILES: u64 = 65_536;

/// Runs jobs with `bwrap`.
#[derive(Debug)]
pub struct BubblewrapSandbox {
    cgroups: Option<Cgroups>,
}

impl BubblewrapSandbox {
    /// With cgroups if the machine lets us make some.
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
    async fn run(&self, job: Job, progress: &Progress) -> Result<Ending, String> {
        let running = Running::start(&job, self.cgroup(&job)?)?;
        let writable = job.folders.iter().filter(|folder| folder.writable).map(|folder| folder.host.clone()).collect();
        let cgroup = running.cgroup.as_ref().map(|cgroup| cgroup.paths().to_vec()).unwrap_or_default();
        let usage = Usage { folders: writable, disk_bytes: job.bounds.disk_bytes, cgroup };

        let output = Receiver::from_owned_fd(OwnedFd::from(running.output.try_clone().map_err(refused)?));
        let stopped = tokio::select! {
            ended = relay(output.map_err(refused)?, progress, job.bounds.output_bytes) => ended.map_err(refused)?,
            bound = usage.watch() => Some(Ending::Hit(bound)),
            () = tokio::time::sleep(job.bounds.time) => Some(Ending::Hit(Bound::Time)),
            () = progress.cancelled().cancelled() => Some(Ending::Cancelled),
        };
        let (exit, out_of_memory) = running.end(stopped.is_some()).await?;
        Ok(match stopped {
            Some(ending) => ending,
            None if usage.disk_is_full() => Ending::Hit(Bound::Disk),
            None if exit == 0 => Ending::Exited(0),
            None if out_of_memory => Ending::Hit(Bound::Memory),
            None if usage.refused_forks() > 0 => Ending::Hit(Bound::Processes),
            None => Ending::Exited(exit),
        })
    }
}

/// A started job. Dropped before its end (its future was), it is killed.
struct Running {
    output: PipeReader,
    handle: OwnedFd,
    exit: oneshot::Receiver<std::io::Result<ExitStatus>>,
    cgroup: Option<Cgroup>,
}

impl Running {
    fn start(job: &Job, cgroup: Option<Cgroup>) -> Result<Self, String> {
        let mut command = command(job, cgroup.as_ref());
        let (output, writer) = pipe().map_err(refused)?;
        command.stdin(Stdio::null()).stdout(writer.try_clone().map_err(refused)?).stderr(writer);
        let (told, handle) = std::sync::mpsc::sync_channel(1);
        let (ended, exit) = oneshot::channel();
        let spawned = std::thread::Builder::new().name(format!("build {}", job.name)).spawn(move || {
            let child = command.spawn();
            drop(command);
            match child {
                Ok(mut child) => {
                    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
                    let handle = pid.map(|pid| pidfd_open(pid, PidfdFlags::empty()).map_err(std::io::Error::from));
                    let _ = told.send(handle.unwrap_or_else(|| Err(std::io::Error::other("no process id"))));
                    let _ = ended.send(child.wait());
                }
                Err(error) => drop(told.send(Err(error))),
            }
        });
        spawned.map_err(refused)?;
        // The thread answers in about a millisecond, as `spawn` itself would.
        let handle = handle.recv().map_err(|error| error.to_string())?.map_err(refused)?;
        Ok(Self { output, handle, exit, cgroup })
    }

    /// Waits for the end (after bringing it about, if `kill`), and clears the cgroup away. Returns the exit code, and
    /// whether the kernel killed for memory.
    async fn end(mut self, kill: bool) -> Result<(i32, bool), String> {
        if kill {
            self.kill();
        }
        let status = (&mut self.exit).await.map_err(|error| error.to_string())?.map_err(refused)?;
        let out_of_memory = self.cgroup.as_ref().is_some_and(|cgroup| cgroup.oom_kills() > 0);
        if let Some(cgroup) = self.cgroup.take() {
            tokio::task::spawn_blocking(move || cgroup.kill_all().and_then(|()| cgroup.remove()))
                .await
                .map_err(|error| error.to_string())?
                .unwrap_or_else(|error| tracing::warn!(%error, "a build's control group stays behind"));
        }
        Ok((status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(-1), out_of_memory))
    }

    /// Ends bubblewrap, and with it the process namespace in which all of the job lives.
    fn kill(&self) {
        let _ = pidfd_send_signal(&self.handle, Signal::KILL);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
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

/// Passes output on until it ends (`None`) or passes its bound.
async fn relay(mut output: Receiver, progress: &Progress, most: u64) -> std::io::Result<Option<Ending>> {
    let mut left = most;
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(16 * 1024);
        let read = output.read_buf(&mut buffer).await? as u64;
        if read == 0 {
            return Ok(None);
        }
        if read > left {
            return Ok(Some(Ending::Hit(Bound::Output)));
        }
        left -= read;
        progress.bytes(buffer.split().freeze()).await;
    }
}

fn refused(error: impl std::fmt::Display) -> String {
    format!("the sandbox cannot be started: {error}")
}
