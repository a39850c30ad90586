//! What went wrong, for the person at the terminal: a kind (which is the exit code), a sentence, ways out.
//!
//! Lower layers have their own enums ([`super::http::HttpError`], [`super::netrc::NetrcError`]); they become an [`Error`]
//! in exactly one `From` each, and hints are added there, once.

use std::fmt;
use std::io;

/// Decides the exit code. The codes are a promise to scripts, and told in `gigalixir --help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 1: the server refused, or something on this machine failed.
    Failed,
    /// 2: the command line cannot be acted on.
    Usage,
    /// 3: not signed in, or no access.
    Access,
    /// 4: no such app, release, variable…
    NotFound,
    /// 5: no answer from the server, or it broke off.
    Unreachable,
    /// 130: Ctrl-C.
    Interrupted,
    /// Silent: a program that was run over there ended with this code, which becomes ours.
    Program(u8),
    /// 0 and silent: whoever read our output has seen enough (`gigalixir logs | head`).
    BrokenPipe,
}

impl Kind {
    /// What the process exits with.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Program(code) => code,
            Self::BrokenPipe => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Access => 3,
            Self::NotFound => 4,
            Self::Unreachable => 5,
            Self::Interrupted => 130,
        }
    }
}

/// The failure of a command.
#[derive(Debug, Clone)]
pub struct Error {
    /// The exit code.
    pub kind: Kind,
    /// What happened; may have several lines.
    pub message: String,
    /// What to try, one sentence each.
    pub hints: Vec<String>,
}

impl Error {
    /// An error of a kind, with no hint yet.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hints: Vec::new() }
    }

    /// The command failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Kind::Failed, message)
    }

    /// The command line cannot be acted on.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// There is no such thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    /// Adds a way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// An IO failure with what was being done ("could not write `FILE`").
    pub fn io(doing: impl fmt::Display, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::Interrupted => Self::new(Kind::Interrupted, "interrupted"),
            _ => Self::failed(format!("{doing}: {error}")),
        }
    }

    /// A failure to write to standard output.
    pub fn output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(Kind::BrokenPipe, "broken pipe"),
            _ => Self::failed(format!("could not write the result: {error}")),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
