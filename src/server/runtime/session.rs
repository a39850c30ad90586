//! A program beside an instance's own process, in the same sandbox: the consoles, `ps:run`, copies, tunnels.

use std::collections::BTreeMap;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};

/// What shall run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments; never a shell line. Looked up in the instance's `PATH`.
    pub argv: Vec<String>,
    /// Over the instance's own environment.
    pub env: BTreeMap<String, String>,
    /// With a pseudo-terminal, of this kind and size; without, with three pipes.
    pub terminal: Option<Terminal>,
}

/// A terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terminal {
    /// Its `TERM`.
    pub term: String,
    /// How large.
    pub size: TerminalSize,
}

/// How large a terminal is, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// Characters in a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

/// A running program. Dropping it ends the program (SIGHUP, then SIGKILL) with all it started: that is, dropping both
/// `control` and `ended`, wherever they went.
pub struct Session {
    /// Its standard input; shutting it down is the end of input. With a terminal, what is typed.
    pub input: Box<dyn AsyncWrite + Send + Unpin>,
    /// Its standard output; with a terminal, all it says.
    pub output: Box<dyn AsyncRead + Send + Unpin>,
    /// Its standard error; `None` with a terminal.
    pub errors: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Changes while it runs.
    pub control: mpsc::Sender<Control>,
    /// How it ended; comes when it has ended, whether or not all output was read. Closed without an answer: it was lost.
    pub ended: oneshot::Receiver<Ended>,
}

/// What can be done to a running program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// The terminal has another size now.
    Resize(TerminalSize),
    /// A signal, by its number on Linux, to the program and what it started in its group.
    Signal(i32),
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal, by its number on Linux.
    Signaled(i32),
}

impl Ended {
    /// As a shell counts: 128 + signal when killed by one.
    pub fn code(self) -> i32 {
        match self {
            Self::Exited(code) => code,
            Self::Signaled(signal) => 128 + signal,
        }
    }
}

/// A connection, in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}
