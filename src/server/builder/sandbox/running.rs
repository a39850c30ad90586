//! A started job and the thread that waits for it.
//!
//! The thread that starts a job is the one that waits for it: what is sandboxed dies with its parent *thread*, so a
//! server that is killed leaves no build behind, and one that lives does not end builds by accident.

use std::io::{self, PipeReader, pipe};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::sync::oneshot;

use super::usage::refused_forks;
use crate::server::confine::cgroup::Cgroup;

/// Killed when dropped; its cgroup goes with it.
pub(super) struct Running {
    handle: OwnedFd,
    end: oneshot::Receiver<io::Result<End>>,
}

/// How it ended.
pub(super) struct End {
    /// As a shell counts.
    pub(super) code: i32,
    /// Whether the kernel killed something of it for memory.
    pub(super) out_of_memory: bool,
    /// How often the kernel refused it a process.
    pub(super) refused_forks: u64,
}

impl Running {
    /// Starts `command`, which enters `cgroup` by itself. Its stdout and stderr are the returned pipe.
    pub(super) async fn start(
        name: &str,
        mut command: Command,
        cgroup: Option<Cgroup>,
    ) -> io::Result<(Self, PipeReader)> {
        let (output, writer) = pipe()?;
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        let (told, handle) = oneshot::channel();
        let (ended, end) = oneshot::channel();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let started = command.spawn().and_then(|child| Ok((handle_of(&child)?, child)));
            // It holds the pipe's writing end, without which the job's own end shows.
            drop(command);
            match started {
                Ok((handle, mut child)) => {
                    if told.send(Ok(handle)).is_err() {
                        let _ = child.kill();
                    }
                    let _ = ended.send(child.wait().map(|status| clear(status, cgroup)));
                }
                Err(error) => {
                    let _ = told.send(Err(error));
                    clear(ExitStatus::default(), cgroup);
                }
            }
        })?;
        let handle = handle.await.map_err(io::Error::other)??;
        Ok((Self { handle, end }, output))
    }

    /// Ends bubblewrap, and with it the process namespace in which all of the job lives.
    pub(super) fn kill(&self) {
        let _ = pidfd_send_signal(&self.handle, Signal::KILL);
    }

    /// Waits until nothing of it is left.
    pub(super) async fn end(mut self) -> io::Result<End> {
        (&mut self.end).await.map_err(io::Error::other)?
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

fn handle_of(child: &Child) -> io::Result<OwnedFd> {
    Ok(pidfd_open(Pid::from_child(child), PidfdFlags::empty())?)
}

/// Reads what the cgroup knows, ends what is still in it and removes it.
fn clear(status: ExitStatus, cgroup: Option<Cgroup>) -> End {
    let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(-1);
    let Some(cgroup) = cgroup else { return End { code, out_of_memory: false, refused_forks: 0 } };
    let end = End { code, out_of_memory: cgroup.oom_kills() > 0, refused_forks: refused_forks(cgroup.paths()) };
    if let Err(error) = cgroup.kill_all().and_then(|()| cgroup.remove()) {
        tracing::warn!(%error, "a build's control group stays behind");
    }
    end
}
