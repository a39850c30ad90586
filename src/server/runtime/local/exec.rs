//! A session from the server's side: its control group, its attendant ([`super::inside`]), and the end of both.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command as Process};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::super::session::{Command, Control, Ended, Session};
use super::folder::{self, SPEC, Spec};
use super::inside::{self, Order, Wish, Word};
use super::shared::Shared;
use super::terminal::{self, Input};
use crate::server::confine::cgroup::Cgroup;
use crate::server::confine::enter::Enter;

/// A sandbox that is being made is waited for, and a busy machine is slow.
const BEGINNING: Duration = Duration::from_secs(20);
/// What the attendant has to end all it started.
const LEAVING: Duration = Duration::from_secs(10);
const WISHES: usize = 16;
/// SIGKILL, as [`Ended::Signaled`] counts.
const KILLED: i32 = 9;

/// Starts a program in the replica of a folder; `None` if that does not run.
pub(super) async fn exec(shared: &Shared, dir: PathBuf, command: Command) -> io::Result<Option<Session>> {
    let (spec, group) = tokio::task::spawn_blocking({
        let dir = dir.clone();
        move || prepare(&dir)
    })
    .await
    .map_err(io::Error::other)??;
    let begun = match begin(shared, &spec, dir, group.as_ref(), command).await {
        Ok(Some(begun)) => begun,
        other => {
            end(group).await;
            return other.map(|_| None);
        }
    };
    let (control, wishes) = mpsc::channel(WISHES);
    let (tell, ended) = oneshot::channel();
    let (input, output, errors) = begun.ends;
    let attended = Attended { child: begun.child, socket: begun.socket, group, closing: shared.closing.clone() };
    shared.tasks.spawn(attended.attend(wishes, tell));
    Ok(Some(Session { input, output, errors, control, ended }))
}

/// A control group for the session, within the replica's.
fn prepare(dir: &Path) -> io::Result<(Spec, Option<Cgroup>)> {
    let spec: Spec = folder::read_json(&dir.join(SPEC))?;
    if spec.cgroup.is_empty() {
        return Ok((spec, None));
    }
    let group = Cgroup::at(spec.cgroup.clone()).within(&format!("session-{}", uuid::Uuid::now_v7().simple()));
    group.make()?;
    Ok((spec, Some(group)))
}

type Ends = (
    Box<dyn tokio::io::AsyncWrite + Send + Unpin>,
    Box<dyn tokio::io::AsyncRead + Send + Unpin>,
    Option<Box<dyn tokio::io::AsyncRead + Send + Unpin>>,
);

struct Begun {
    child: Child,
    socket: UnixStream,
    ends: Ends,
}

async fn begin(
    shared: &Shared,
    spec: &Spec,
    dir: PathBuf,
    group: Option<&Cgroup>,
    command: Command,
) -> io::Result<Option<Begun>> {
    let (socket, theirs) = std::os::unix::net::UnixStream::pair()?;
    socket.set_nonblocking(true)?;
    let enter = Enter { cgroup: group, rlimits: &spec.rlimits(), args_file: None };
    let mut process = Process::from(enter.command_by(&shared.program, &shared.program));
    process.arg(inside::SUBCOMMAND).current_dir("/").env_clear();
    process.stdin(OwnedFd::from(theirs)).stdout(Stdio::null());
    let child = process.spawn()?;
    // The command holds the other end of the socket; its end must be seen.
    drop(process);
    let mut socket = UnixStream::from_std(socket)?;
    let mut env = command.env;
    let terminal = command.terminal.map(|terminal| {
        env.insert("TERM".to_owned(), terminal.term);
        (terminal.size.columns, terminal.size.rows)
    });
    let cgroup = group.map(|group| group.paths().to_vec()).unwrap_or_default();
    let order = Order { dir, cgroup, argv: command.argv, env, terminal };
    say(&mut socket, &order).await?;
    let (word, fds) = timeout(BEGINNING, first_word(&socket)).await??;
    match word {
        Word::Started => Ok(Some(Begun { child, socket, ends: ends(fds)? })),
        Word::NotRunning => Ok(None),
        Word::Failed(why) => Err(io::Error::other(why)),
        Word::Exited(_) | Word::Signaled(_) => Err(io::ErrorKind::InvalidData.into()),
    }
}

async fn say<T: serde::Serialize + Sync>(socket: &mut UnixStream, word: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(word)?;
    line.push(b'\n');
    socket.write_all(&line).await
}

/// The word that comes alone, perhaps with descriptors: the kernel lets no later one be read with it.
async fn first_word(socket: &UnixStream) -> io::Result<(Word, Vec<OwnedFd>)> {
    let (mut line, mut fds) = (vec![0; 4096], Vec::new());
    let count = socket
        .async_io(Interest::READABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
            let read = recvmsg(socket, &mut [IoSliceMut::new(&mut line)], &mut control, flags)?;
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(received) = message {
                    fds.extend(received);
                }
            }
            Ok(read.bytes)
        })
        .await?;
    if count == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "its attendant ended at once"));
    }
    Ok((serde_json::from_slice(&line[..count])?, fds))
}

fn ends(fds: Vec<OwnedFd>) -> io::Result<Ends> {
    let mut fds = fds.into_iter();
    match (fds.next(), fds.next(), fds.next()) {
        (Some(master), None, None) => {
            let (input, output) = terminal::halves(master)?;
            Ok((Box::new(input), Box::new(output), None))
        }
        (Some(input), Some(output), Some(errors)) => Ok((
            Box::new(Input::new(input)?),
            Box::new(pipe::Receiver::from_owned_fd(output)?),
            Some(Box::new(pipe::Receiver::from_owned_fd(errors)?)),
        )),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "its attendant sent too few descriptors")),
    }
}

/// A session with what it has on this machine.
struct Attended {
    child: Child,
    socket: UnixStream,
    group: Option<Cgroup>,
    closing: CancellationToken,
}

impl Attended {
    /// Until whoever has the session lets go of it, or the server closes.
    async fn attend(mut self, wishes: mpsc::Receiver<Control>, tell: oneshot::Sender<Ended>) {
        let closing = self.closing.clone();
        tokio::select! {
            () = self.serve(wishes, tell) => {}
            () = closing.cancelled() => {}
        }
        // The end of the socket is the order to end all.
        drop(self.socket);
        if timeout(LEAVING, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
        end(self.group).await;
    }

    async fn serve(&mut self, mut wishes: mpsc::Receiver<Control>, tell: oneshot::Sender<Ended>) {
        let (ear, mut mouth) = self.socket.split();
        let mut words = BufReader::new(ear).lines();
        let mut tell = Some(tell);
        let mut wished = true;
        while wished || tell.is_some() {
            tokio::select! {
                wish = wishes.recv(), if wished => match wish {
                    Some(wish) => {
                        let mut line = serde_json::to_vec(&Wish::from(wish)).unwrap_or_default();
                        line.push(b'\n');
                        // An attendant that is gone is heard of below.
                        let _ = mouth.write_all(&line).await;
                    }
                    None => wished = false,
                },
                word = words.next_line() => {
                    let word = word.ok().flatten().and_then(|line| serde_json::from_str::<Word>(&line).ok());
                    let Some(word) = word else {
                        // Nothing but the kernel's SIGKILL to all of the group ends an attendant early.
                        if let Some(tell) = tell {
                            end(self.group.clone()).await;
                            let _ = tell.send(Ended::Signaled(KILLED));
                        }
                        return;
                    };
                    if let Some(ended) = word.ended() && let Some(tell) = tell.take() {
                        let _ = tell.send(ended);
                    }
                }
                () = closed(&mut tell), if !wished => return,
            }
        }
    }
}

async fn closed(tell: &mut Option<oneshot::Sender<Ended>>) {
    match tell {
        Some(tell) => tell.closed().await,
        None => std::future::pending().await,
    }
}

impl From<Control> for Wish {
    fn from(control: Control) -> Self {
        match control {
            Control::Signal(number) => Self::Signal(number),
            Control::Resize(size) => Self::Resize { columns: size.columns, rows: size.rows },
        }
    }
}

/// Ends what is left in a session's group and removes it.
async fn end(group: Option<Cgroup>) {
    let Some(group) = group else { return };
    let ended = tokio::task::spawn_blocking(move || group.kill_all().and_then(|()| group.remove()));
    if let Err(error) = ended.await.map_err(io::Error::other).and_then(|ended| ended) {
        tracing::error!("a session's control group is left over: {error}");
    }
}
