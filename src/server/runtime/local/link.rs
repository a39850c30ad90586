//! The server's connection to a shim, and the shim's birth.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::Command;

use super::folder::{CONTROL, LOCK};
use super::protocol::{Order, Word};
use super::shim;

pub(super) struct Link {
    words: Lines<BufReader<OwnedReadHalf>>,
    mouth: OwnedWriteHalf,
}

impl Link {
    /// Connects to the shim of a folder.
    pub(super) async fn connect(dir: &Path) -> io::Result<Self> {
        let folder = File::open(dir)?;
        let (ear, mouth) = UnixStream::connect(socket_path(&folder)).await?.into_split();
        Ok(Self { words: BufReader::new(ear).lines(), mouth })
    }

    /// The next word; an error when the shim is gone. May be dropped while it waits.
    pub(super) async fn next(&mut self) -> io::Result<Word> {
        let line = self.words.next_line().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(serde_json::from_str(&line)?)
    }

    pub(super) async fn order(&mut self, order: Order) -> io::Result<()> {
        let mut line = serde_json::to_vec(&order)?;
        line.push(b'\n');
        self.mouth.write_all(&line).await
    }
}

/// The socket of a folder by way of its descriptor, because a socket's path may have 107 bytes only.
fn socket_path(folder: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{CONTROL}", folder.as_raw_fd()))
}

/// The lock of a folder, if no shim lives there. As long as it is held none can be born.
pub(super) fn lock(dir: &Path) -> io::Result<Option<File>> {
    let lock = File::options().append(true).create(true).open(dir.join(LOCK))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            // What an earlier shim wrote.
            lock.set_len(0)?;
            Ok(Some(lock))
        }
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Ends a shim that does not do as told; its replica dies with it.
pub(super) fn kill(dir: &Path) -> io::Result<()> {
    let text = fs::read_to_string(dir.join(LOCK))?;
    if lock(dir)?.is_none()
        && let Some(pid) = text.trim().parse().ok().and_then(Pid::from_raw)
    {
        kill_process(pid, Signal::KILL)?;
    }
    Ok(())
}

/// Starts a shim. It is born with the lock held and its socket open, so that there is no moment at which it could be
/// neither found nor missed.
pub(super) fn give_birth(program: &Path, dir: &Path, lock: File) -> io::Result<()> {
    let folder = File::open(dir)?;
    let socket = socket_path(&folder);
    match fs::remove_file(&socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = std::os::unix::net::UnixListener::bind(&socket)?;
    let complaints = File::options().append(true).create(true).open(dir.join("shim.log"))?;
    let mut command = Command::new(program);
    command.arg(shim::SUBCOMMAND).arg(dir).current_dir("/").env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command.stdin(OwnedFd::from(listener)).stdout(lock).stderr(Stdio::from(complaints));
    // Dropped, not waited for: it outlives us, and if it does not, tokio collects it.
    command.spawn().map(drop)
}
