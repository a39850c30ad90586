//! The program itself: on a terminal of the sandbox's own, or on three pipes.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::super::super::session::TerminalSize;

const SCRIPT: &str = include_str!("../../../../../config/session");
/// Makes the program the leader of a session, and with `--ctty` the terminal its own. In the sandbox, because the
/// numbers of sessions and groups are those of the sandbox.
const SETSID: &str = "/usr/bin/setsid";

pub(super) struct Program {
    pub(super) child: Child,
    /// The terminal's master.
    pub(super) terminal: Option<OwnedFd>,
    /// What the server reads and writes: the master, or the other ends of the pipes.
    pub(super) ends: Vec<OwnedFd>,
}

impl Program {
    /// Starts it; this process has joined the sandbox already.
    pub(super) fn start<'a>(
        argv: &[String],
        env: impl Iterator<Item = (&'a String, &'a String)>,
        terminal: Option<TerminalSize>,
    ) -> io::Result<Self> {
        let mut command = Command::new(SETSID);
        if terminal.is_some() {
            command.arg("--ctty");
        }
        command.args(["--", "/bin/bash", "-c", SCRIPT, "session"]).args(argv);
        command.env_clear().envs(env).current_dir("/app");
        match terminal {
            Some(size) => on_terminal(command, size),
            None => on_pipes(command),
        }
    }
}

fn on_terminal(mut command: Command, size: TerminalSize) -> io::Result<Program> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    unlockpt(&master)?;
    let slave = ioctl_tiocgptpeer(&master, flags)?;
    resize(&master, size)?;
    command.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave);
    let child = command.spawn()?;
    Ok(Program { child, ends: vec![master.try_clone()?], terminal: Some(master) })
}

fn on_pipes(mut command: Command) -> io::Result<Program> {
    let (stdin, input) = io::pipe()?;
    let (output, stdout) = io::pipe()?;
    let (errors, stderr) = io::pipe()?;
    command.stdin(Stdio::from(stdin)).stdout(Stdio::from(stdout)).stderr(Stdio::from(stderr));
    let child = command.spawn()?;
    Ok(Program { child, terminal: None, ends: vec![input.into(), output.into(), errors.into()] })
}

pub(super) fn resize(master: &OwnedFd, size: TerminalSize) -> io::Result<()> {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(tcsetwinsize(master, size)?)
}
