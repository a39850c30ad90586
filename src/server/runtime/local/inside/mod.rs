//! `gigalixir inside`: one small process per session that stands between the server and a program beside a replica's
//! own. It goes into the replica's sandbox, starts the program there as its child, tells how it ends, and ends it with
//! all it started when the server lets go of the session, or is gone.
//!
//! Guaranteed: the program has no capability, no file and no process that the app has not; nothing inside can reach this
//! process (it stays outside of the sandbox's process ids) nor its memory or binary (it is not dumpable).
//!
//! Deliberately absent: what the program reads and writes. The server holds those ends itself; here nothing is copied.

mod attend;
mod join;
mod program;
mod sandbox;

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, IoSlice, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{DumpableBehavior, set_dumpable_behavior, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};

use super::super::session::{Ended, TerminalSize};

/// The hidden subcommand's name.
pub const SUBCOMMAND: &str = "inside";

/// The first line from the server.
#[derive(Serialize, Deserialize)]
pub(super) struct Order {
    /// The replica's folder.
    pub(super) dir: PathBuf,
    /// The folders of the session's control group, in which this process is already; none where there are no groups.
    pub(super) cgroup: Vec<PathBuf>,
    pub(super) argv: Vec<String>,
    /// Over the replica's own environment, `TERM` included.
    pub(super) env: BTreeMap<String, String>,
    pub(super) terminal: Option<(u16, u16)>,
}

/// Further lines from the server. Its end is the session's.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) enum Wish {
    Signal(i32),
    Resize { columns: u16, rows: u16 },
}

/// To the server, one line each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Word {
    /// It runs. With this come the descriptors: the terminal's master, or the other ends of input, output and errors.
    Started,
    /// There is no sandbox to go into.
    NotRunning,
    /// It cannot be done, for this reason.
    Failed(String),
    Exited(i32),
    Signaled(i32),
}

impl Word {
    /// How the program ended, if this says so.
    pub(super) fn ended(&self) -> Option<Ended> {
        match self {
            Self::Exited(code) => Some(Ended::Exited(*code)),
            Self::Signaled(signal) => Some(Ended::Signaled(*signal)),
            _ => None,
        }
    }

    fn line(&self) -> io::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line)
    }
}

/// `gigalixir inside`, without the first two words. Its standard input is the socket to the server.
pub fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gigalixir inside: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> io::Result<()> {
    // The end of the socket says that the server is gone; dying at once would leave the program alone.
    set_parent_process_death_signal(None)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let mut socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut line = String::new();
    BufReader::new(&socket).read_line(&mut line)?;
    let order: Order = serde_json::from_str(&line)?;
    match begin(&order) {
        Ok(Some((mut running, ends))) => {
            hand_over(&socket, ends)?;
            running.attend(socket)
        }
        Ok(None) => socket.write_all(&Word::NotRunning.line()?),
        Err(error) => socket.write_all(&Word::Failed(error.to_string()).line()?),
    }
}

/// `None` if no sandbox is there to go into.
fn begin(order: &Order) -> io::Result<Option<(attend::Running, Vec<OwnedFd>)>> {
    let Some(sandbox) = sandbox::find(&order.dir)? else { return Ok(None) };
    let env = super::variables::read(&order.dir)?;
    let view = attend::View::open(&order.cgroup)?;
    join::join(&sandbox)?;
    let size = order.terminal.map(|(columns, rows)| TerminalSize { columns, rows });
    let program = program::Program::start(&order.argv, env.iter().chain(&order.env), size)?;
    let running = attend::Running { child: program.child, terminal: program.terminal, view };
    Ok(Some((running, program.ends)))
}

fn hand_over(socket: &UnixStream, ends: Vec<OwnedFd>) -> io::Result<()> {
    let borrowed: Vec<_> = ends.iter().map(|end| end.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&borrowed));
    let line = Word::Started.line()?;
    sendmsg(socket, &[IoSlice::new(&line)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}
