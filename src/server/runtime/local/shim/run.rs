//! One run of a replica, from the slug to the exit.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use jiff::Timestamp;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::time::{Instant, interval, sleep_until, timeout};

use super::super::folder::{self, SPEC};
use super::super::protocol::Phase;
use super::lines::Lines;
use super::{Shim, processes, sandbox, unpack};
use crate::server::domain::{Exit, ExitReason};
use crate::server::runtime::stop;

/// As a shell says: found, but could not be run.
const CANNOT_RUN: i32 = 126;
/// Between SIGTERM and SIGKILL for what has passed its time limit.
const LIMIT_GRACE: Duration = Duration::from_secs(10);
/// How often it is looked whether those that were asked to end have left others behind.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// What is left in the pipe when all writers are dead is read at once; this is for the unforeseen.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Shim {
    /// Unpacks, starts, and returns when it has ended, by itself or because it was told to.
    pub(super) async fn run(&mut self) -> Exit {
        let oom_before = self.oom_kills();
        let (code, timed_out) = match self.start().await {
            Ok(Some((child, output))) => self.attend(child, output).await,
            Ok(None) => (0, false),
            Err(error) => {
                self.say(&format!("{} cannot be started: {error}", self.spec.label()));
                (CANNOT_RUN, false)
            }
        };
        let reason = match code {
            _ if timed_out => ExitReason::TimedOut,
            0 => ExitReason::Completed,
            _ if self.oom_kills() > oom_before => ExitReason::OOMKilled,
            _ => ExitReason::Error,
        };
        Exit { code, reason, at: Timestamp::now() }
    }

    fn oom_kills(&self) -> u64 {
        self.cgroup.as_ref().map_or(0, |cgroup| cgroup.oom_kills())
    }

    /// `None` when it was told to end while it was being made.
    async fn start(&mut self) -> io::Result<Option<(Child, pipe::Receiver)>> {
        self.change(|state| (state.phase, state.started_at) = (Phase::Making, Some(Timestamp::now())));
        // What it shall be may have become another while it ran.
        if let Ok(spec) = folder::read_json(&self.dir.join(SPEC)) {
            self.spec = spec;
        }
        let (slug, app) = (self.dir.join(self.spec.slug()), self.dir.join("app"));
        tokio::task::spawn_blocking(move || unpack::unpack(&slug, &app)).await.map_err(io::Error::other)??;
        if self.stop.borrow().is_some() {
            return Ok(None);
        }
        let port = free_port(self.state.borrow().port)?;
        let (reader, writer) = io::pipe()?;
        // The command holds ends of the pipe, so it must go before the end of the output can be seen.
        let child = Command::from(sandbox::command(&self.dir, &self.spec, port, writer)?).kill_on_drop(true).spawn()?;
        let output = pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?;
        self.change(|state| {
            (state.phase, state.port, state.started_at) = (Phase::Running, port, Some(Timestamp::now()));
        });
        Ok(Some((child, output)))
    }

    /// Reads what it says and waits for its end; the answer is its exit code, and whether its time was up.
    async fn attend(&mut self, mut child: Child, mut output: pipe::Receiver) -> (i32, bool) {
        let first = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or_default();
        let (mut lines, mut buffer) = (Lines::default(), vec![0; 32 * 1024]);
        let mut deadline: Option<Instant> = None;
        let limit = self.spec.once().map(|limit| (limit, Instant::now() + limit));
        let mut timed_out = false;
        let mut asked = BTreeSet::new();
        let mut again = interval(ASK_AGAIN);
        let mut silent = false;
        let status = loop {
            tokio::select! {
                status = child.wait() => break status,
                read = output.read(&mut buffer), if !silent => match read {
                    Ok(count) if count > 0 => self.write(&lines.push(&buffer[..count])),
                    _ => silent = true,
                },
                grace = stop::told(&mut self.stop), if deadline.is_none() => {
                    self.change(|state| state.phase = Phase::Stopping);
                    deadline = Some(Instant::now() + grace);
                    again.reset_immediately();
                }
                limit = passed(limit), if deadline.is_none() => {
                    self.say(&format!("{} has run for {} s, as long as it may, and is ended", self.spec.label(), limit.as_secs()));
                    timed_out = true;
                    deadline = Some(Instant::now() + LIMIT_GRACE);
                    again.reset_immediately();
                }
                _ = again.tick(), if deadline.is_some() => processes::terminate(first, self.cgroup.as_ref(), &mut asked),
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    self.say(&format!("{} did not end in time and was killed (SIGKILL)", self.spec.label()));
                    processes::kill(first, self.cgroup.as_ref());
                    break child.wait().await;
                }
            }
        };
        // Whatever the first process left behind goes with it.
        processes::kill_rest(self.cgroup.as_ref());
        let rest = async {
            while let Ok(count @ 1..) = output.read(&mut buffer).await {
                self.write(&lines.push(&buffer[..count]));
            }
        };
        let _ = timeout(LAST_WORDS, rest).await;
        self.write(lines.end().as_slice());
        (status.map_or(CANNOT_RUN, code_of), timed_out)
    }
}

/// Returns the limit when it has passed; never, if there is none.
async fn passed(limit: Option<(Duration, Instant)>) -> Duration {
    match limit {
        Some((limit, end)) => {
            sleep_until(end).await;
            limit
        }
        None => std::future::pending().await,
    }
}

/// As a shell counts.
fn code_of(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(CANNOT_RUN)
}

/// `wished` if nobody listens there, else another.
fn free_port(wished: u16) -> io::Result<u16> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, wished)).or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    Ok(listener.local_addr()?.port())
}
