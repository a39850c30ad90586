//! While the program runs, and when it has to end.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::Duration;

use rustix::fs::{Mode, OFlags, open, openat};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use rustix::termios::tcgetpgrp;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};

use super::super::super::session::TerminalSize;
use super::program::resize;
use super::{Wish, Word};

/// What a program has after SIGHUP.
const GRACE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(5);
/// A process that the kernel cannot end now will not keep this one for ever.
const ROUNDS: u32 = 400;

/// What shows the processes of the session, by descriptors: in the sandbox its files are out of sight.
pub(super) struct View {
    /// The session's control group.
    cgroup: Vec<OwnedFd>,
    /// The machine's `/proc`.
    proc: OwnedFd,
}

impl View {
    pub(super) fn open(cgroup: &[PathBuf]) -> io::Result<Self> {
        let folder = |path: &Path| open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let cgroup = cgroup.iter().map(|dir| folder(dir)).collect::<Result<_, _>>()?;
        Ok(Self { cgroup, proc: folder(Path::new("/proc"))? })
    }

    /// All in the control group but this one.
    fn grouped(&self) -> Vec<Pid> {
        let texts = self.cgroup.iter().filter_map(|dir| numbers(dir, "cgroup.procs"));
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        texts.flatten().filter(|pid| *pid != own).filter_map(Pid::from_raw).collect()
    }

    /// A process and those it started, as far as they did not leave it: what is known where there are no control groups.
    fn descendants(&self, first: Pid) -> Vec<Pid> {
        let mut all = vec![first];
        let mut next = 0;
        while let Some(pid) = all.get(next).map(|pid| pid.as_raw_nonzero()) {
            let children = numbers(&self.proc, &format!("{pid}/task/{pid}/children")).unwrap_or_default();
            all.extend(children.into_iter().filter_map(Pid::from_raw));
            next += 1;
        }
        all
    }
}

/// The numbers in a file. Opened each time: one that stays open may tell an old list.
fn numbers(dir: &OwnedFd, file: &str) -> Option<Vec<i32>> {
    let mut text = String::new();
    let file = openat(dir, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    File::from(file).read_to_string(&mut text).ok()?;
    Some(text.split_whitespace().filter_map(|number| number.parse().ok()).collect())
}

pub(super) struct Running {
    pub(super) child: Child,
    pub(super) terminal: Option<OwnedFd>,
    pub(super) view: View,
}

impl Running {
    /// Obeys until the server lets go, then ends all that is left. One thread: a process that has joined a namespace of
    /// process ids cannot make others.
    pub(super) fn attend(&mut self, socket: UnixStream) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let served = self.serve(tokio::net::UnixStream::from_std(socket)?).await;
            self.end_all().await;
            served
        })
    }

    async fn serve(&mut self, mut socket: tokio::net::UnixStream) -> io::Result<()> {
        let mut ends = signal(SignalKind::child())?;
        let (ear, mut mouth) = socket.split();
        let mut wishes = BufReader::new(ear).lines();
        let mut told = false;
        loop {
            // It may have ended before the signal was listened to.
            if !told && let Some(status) = self.child.try_wait()? {
                told = true;
                mouth.write_all(&word_of(status).line()?).await?;
            }
            tokio::select! {
                _ = ends.recv(), if !told => {}
                wish = wishes.next_line() => match wish? {
                    Some(line) => self.obey(serde_json::from_str(&line)?),
                    None => return Ok(()),
                },
            }
        }
    }

    /// A wish that cannot be granted any more is none.
    fn obey(&mut self, wish: Wish) {
        match (wish, &self.terminal) {
            (Wish::Resize { columns, rows }, Some(master)) => drop(resize(master, TerminalSize { columns, rows })),
            (Wish::Resize { .. }, None) => {}
            (Wish::Signal(number), _) => {
                if let Some(signal) = Signal::from_named_raw(number) {
                    self.signal(signal);
                }
            }
        }
    }

    /// To the program in the foreground and all of its group.
    fn signal(&mut self, signal: Signal) {
        let Some(leader) = self.leader() else { return };
        let foreground = self.terminal.as_ref().and_then(|master| tcgetpgrp(master).ok());
        // Its first moment it spends in our own group.
        if kill_process_group(foreground.unwrap_or(leader), signal).is_err() {
            let _ = kill_process(leader, signal);
        }
    }

    /// The program, unless it has ended.
    fn leader(&mut self) -> Option<Pid> {
        let running = matches!(self.child.try_wait(), Ok(None));
        Pid::from_raw(i32::try_from(self.child.id()).ok()?).filter(|_| running)
    }

    async fn end_all(&mut self) {
        self.signal(Signal::HUP);
        // Stopped ones hear it only so.
        self.signal(Signal::CONT);
        self.terminal = None;
        let ended = async {
            while self.leader().is_some() {
                sleep(PAUSE).await;
            }
        };
        let _ = timeout(GRACE, ended).await;
        for _ in 0..ROUNDS {
            let mut left = self.view.grouped();
            if let Some(leader) = self.leader() {
                left.extend(self.view.descendants(leader));
            }
            if left.is_empty() {
                return;
            }
            for pid in left {
                let _ = kill_process(pid, Signal::KILL);
            }
            sleep(PAUSE).await;
        }
    }
}

fn word_of(status: ExitStatus) -> Word {
    let code = || Word::Exited(status.code().unwrap_or_default());
    status.signal().map_or_else(code, Word::Signaled)
}
