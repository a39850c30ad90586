//! `gigalixir enter`: the last thing that runs as ourselves before a confined program begins.
//!
//! A process started and then moved into its control group could fork in between and leave a child outside. So the
//! program is not started directly: this very binary is, moves *itself*, and becomes the program.
//!
//! Guaranteed: the program is in every group, has every limit, and dies (SIGKILL) when the thread that spawned it does.
//! So spawn from a thread that lives as long as the program may: the main thread or a runtime's worker, never
//! `spawn_blocking`.
//!
//! Deliberately absent: clap, tracing, any configuration; it takes about a millisecond.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::os::fd::{AsRawFd as _, IntoRawFd as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, Rlimit, Signal};

use super::cgroup::{self, Cgroup};

/// The hidden subcommand's name.
pub const SUBCOMMAND: &str = "enter";

/// A resource of `setrlimit(2)` that is bounded here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Bytes of private writable memory of one process. Weaker than a control group: each process has its own.
    Data,
    /// Processes and threads of the user.
    Processes,
    /// Bytes of one file.
    FileSize,
    /// Open files of one process.
    OpenFiles,
    /// Bytes of a core dump.
    Core,
}

impl Limit {
    const ALL: [(&'static str, Self, Resource); 5] = [
        ("data", Self::Data, Resource::Data),
        ("nproc", Self::Processes, Resource::Nproc),
        ("fsize", Self::FileSize, Resource::Fsize),
        ("nofile", Self::OpenFiles, Resource::Nofile),
        ("core", Self::Core, Resource::Core),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, limit, _)| *limit == self).map_or("core", |(name, ..)| name)
    }
}

/// What a program is to be put into before it begins.
#[derive(Debug, Clone, Copy, Default)]
pub struct Enter<'a> {
    /// Its control group.
    pub cgroup: Option<&'a Cgroup>,
    /// Its limits.
    pub rlimits: &'a [(Limit, u64)],
    /// A file of NUL-separated arguments that the program reads through `--args FD`, as bubblewrap does. The way secrets
    /// go: an argument vector can be read by everybody on the machine.
    pub args_file: Option<&'a Path>,
}

impl Enter<'_> {
    /// A command for `program`; add its arguments, environment and files as usual.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.command_by(&own_program(), program)
    }

    /// As [`Self::command`], by another program that has this subcommand.
    pub fn command_by(&self, enter: &Path, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(enter);
        command.arg(SUBCOMMAND).arg("--parent").arg(std::process::id().to_string());
        for dir in self.cgroup.iter().flat_map(|cgroup| cgroup.paths()) {
            command.arg("--cgroup").arg(dir);
        }
        for (limit, value) in self.rlimits {
            command.arg("--rlimit").arg(format!("{}={value}", limit.name()));
        }
        if let Some(file) = self.args_file {
            command.arg("--args-file").arg(file);
        }
        command.arg("--").arg(program);
        command
    }
}

/// A command for `program` within `cgroup` and `rlimits`.
pub fn enter_command(cgroup: Option<&Cgroup>, rlimits: &[(Limit, u64)], program: impl AsRef<OsStr>) -> Command {
    Enter { cgroup, rlimits, args_file: None }.command(program)
}

/// This very binary, also after its file was replaced by a newer one.
#[cfg(not(test))]
fn own_program() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}

/// Unit tests run in a binary of their own, beside which cargo puts the real one (`cargo build` first).
#[cfg(test)]
fn own_program() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    here.parent().and_then(Path::parent).unwrap().join("gigalixir")
}

/// `gigalixir enter [--parent PID] [--cgroup DIR]… [--rlimit NAME=N]… [--args-file FILE] -- PROGRAM ARGS…`, without the
/// first two words. Returns only when it failed: 126 when the program could not be confined, 127 when it could not be
/// started.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    match confined(args) {
        Ok(mut command) => {
            let error = command.exec();
            complain(&format!("cannot start {}: {error}", command.get_program().display()));
            ExitCode::from(127)
        }
        Err(message) => {
            complain(&message);
            ExitCode::from(126)
        }
    }
}

fn complain(message: &str) {
    drop(writeln!(std::io::stderr(), "gigalixir enter: {message}"));
}

fn confined(mut args: impl Iterator<Item = OsString>) -> Result<Command, String> {
    let mut descriptor = None;
    while let Some(flag) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("`{}` needs a value", flag.display()));
        match flag.to_str() {
            Some("--parent") => die_with(&value()?)?,
            Some("--cgroup") => {
                let dir = value()?;
                cgroup::join(Path::new(&dir)).map_err(|error| format!("cannot join {}: {error}", dir.display()))?;
            }
            Some("--rlimit") => limit(&value()?)?,
            Some("--args-file") => descriptor = Some(inherited(Path::new(&value()?))?),
            Some("--") => {
                let mut command = Command::new(value()?);
                if let Some(number) = descriptor {
                    command.arg("--args").arg(number.to_string());
                }
                command.args(args);
                return Ok(command);
            }
            _ => return Err(format!("`{}` is not an argument of it", flag.display())),
        }
    }
    Err("no program was named".to_owned())
}

/// Dies with the parent, also when that was gone before this began.
fn die_with(parent: &OsStr) -> Result<(), String> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| error.to_string())?;
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().to_string());
    if now.as_deref().map(OsStr::new) == Some(parent) { Ok(()) } else { Err("its parent is gone".to_owned()) }
}

fn limit(text: &OsStr) -> Result<(), String> {
    let wrong = || format!("`{}` is not NAME=N", text.display());
    let (name, number) = text.to_str().and_then(|text| text.split_once('=')).ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let (.., resource) = Limit::ALL.into_iter().find(|(known, ..)| *known == name).ok_or_else(wrong)?;
    // Lowering is always allowed; a hard limit below the wish stays what it is.
    let most = rustix::process::getrlimit(resource).maximum.map_or(number, |hard| hard.min(number));
    let both = Rlimit { current: Some(most), maximum: Some(most) };
    rustix::process::setrlimit(resource, both).map_err(|error| format!("cannot limit {name}: {error}"))
}

/// Opens a file so that it stays open in the program that comes.
fn inherited(file: &Path) -> Result<i32, String> {
    let open = rustix::fs::open(file, OFlags::RDONLY, Mode::empty())
        .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    debug_assert!(open.as_raw_fd() > 2, "the standard streams are open");
    Ok(open.into_raw_fd())
}
