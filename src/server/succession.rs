//! One server takes over from another, at SIGHUP: after an upgrade, or for another configuration. Nobody is refused
//! meanwhile, and whoever is being served is served to the end.
//!
//! The server starts its heir (the program that is installed by then, with its own arguments) and hands it the listening
//! sockets over a line between the two. As long as the heir has not read its configuration nothing else happens: a
//! mistake in it costs nothing. Then the server ends all that it does but serving visitors, and lets the data folder go,
//! for which the heir waits. When the heir serves visitors, the server accepts no more, finishes those it has, and ends;
//! the heir stops no replica before that (`Draining` in `joints.rs`).

use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use tokio::io::AsyncReadExt;

/// The hidden flag of an heir, whose standard input is the line.
const FLAG: &str = "--succeed";
/// What an heir says: its configuration is good; it serves visitors.
const CONFIGURED: u8 = b'c';
const READY: u8 = b'r';
/// How long it may take over each.
const CONFIGURING: Duration = Duration::from_secs(20);
const STARTING: Duration = Duration::from_secs(90);
/// Bytes of the sockets' names, and sockets at most.
const NAMES: usize = 256;
const SOCKETS: usize = 8;

/// The server that comes after this one.
pub(super) struct Heir {
    child: Child,
    line: UnixStream,
}

impl Heir {
    /// Starts one, hands it the sockets, and waits until it has read its configuration. Blocks.
    pub(super) fn summon(sockets: &[(String, TcpListener)]) -> anyhow::Result<Self> {
        let (line, theirs) = UnixStream::pair()?;
        let program = program()?;
        let arguments = std::env::args_os().skip(1).filter(|argument| argument != FLAG);
        let mut command = Command::new(&program);
        command.args(arguments).arg(FLAG).stdin(OwnedFd::from(theirs));
        let child = command.spawn().with_context(|| format!("starting `{}`", program.display()))?;
        // Its own end of the line is closed here, so that the line ends with the heir.
        drop(command);
        let mut heir = Self { child, line };
        let summoned = send(&heir.line, sockets).context("handing the sockets over");
        match summoned.and_then(|()| heir.hear(CONFIGURED, CONFIGURING)) {
            Ok(()) => Ok(heir),
            Err(error) => {
                // Gone already, most likely.
                let _ = heir.child.kill();
                let _ = heir.child.wait();
                Err(error)
            }
        }
    }

    /// Waits until it serves visitors; the data folder has to be let go before. Blocks.
    pub(super) fn serves(&mut self) -> anyhow::Result<()> {
        self.hear(READY, STARTING)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn hear(&mut self, wanted: u8, patience: Duration) -> anyhow::Result<()> {
        self.line.set_read_timeout(Some(patience))?;
        let mut word = [0];
        match self.line.read(&mut word) {
            Ok(1) if word[0] == wanted => Ok(()),
            Ok(0) => bail!("the new server ended at once; its own words are above"),
            Ok(_) => bail!("the new server does not speak as this one does"),
            Err(error) => Err(error).context("the new server says nothing"),
        }
    }
}

/// The server that was before this one.
pub(super) struct Predecessor(UnixStream);

impl Predecessor {
    /// The one at the other end of standard input, and its sockets. Blocks.
    pub(super) fn meet() -> anyhow::Result<(Self, Vec<(String, TcpListener)>)> {
        let line = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        let sockets = receive(&line).with_context(|| format!("`{FLAG}` is what a server starts another one with"))?;
        Ok((Self(line), sockets))
    }

    /// The configuration is good.
    pub(super) fn configured(&self) -> io::Result<()> {
        (&self.0).write_all(&[CONFIGURED])
    }

    /// Visitors are served.
    pub(super) fn served(&self) -> io::Result<()> {
        (&self.0).write_all(&[READY])
    }

    /// Resolves when it has ended.
    pub(super) async fn gone(self) {
        let line = self.0.set_nonblocking(true).and_then(|()| tokio::net::UnixStream::from_std(self.0));
        if let Ok(mut line) = line {
            // It says nothing; its end is the end of the line.
            let _ = line.read(&mut [0]).await;
        }
    }
}

/// Names and sockets, in one message.
fn send(line: &UnixStream, sockets: &[(String, TcpListener)]) -> io::Result<()> {
    let names = sockets.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(" ");
    let sockets: Vec<BorrowedFd<'_>> = sockets.iter().map(|(_, socket)| socket.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
    let mut attached = SendAncillaryBuffer::new(&mut space);
    if !attached.push(SendAncillaryMessage::ScmRights(&sockets)) {
        return Err(io::Error::other("there are too many sockets"));
    }
    rustix::net::sendmsg(line, &[IoSlice::new(names.as_bytes())], &mut attached, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn receive(line: &UnixStream) -> io::Result<Vec<(String, TcpListener)>> {
    let mut names = [0; NAMES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
    let mut attached = RecvAncillaryBuffer::new(&mut space);
    let message =
        rustix::net::recvmsg(line, &mut [IoSliceMut::new(&mut names)], &mut attached, RecvFlags::CMSG_CLOEXEC)?;
    let sockets = attached.drain().filter_map(|one| match one {
        RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
        _ => None,
    });
    let sockets: Vec<TcpListener> = sockets.flatten().map(TcpListener::from).collect();
    let names = String::from_utf8_lossy(&names[..message.bytes]).into_owned();
    let names: Vec<String> = names.split_whitespace().map(str::to_owned).collect();
    if names.is_empty() || names.len() != sockets.len() {
        return Err(io::Error::other("no sockets came"));
    }
    Ok(names.into_iter().zip(sockets).collect())
}

/// This program, or the one that has been installed in its place.
fn program() -> io::Result<PathBuf> {
    let running = std::env::current_exe()?;
    Ok(installed(running.as_os_str()))
}

/// The kernel's words for a file that has been replaced, taken off.
fn installed(running: &OsStr) -> PathBuf {
    let bytes = running.as_bytes();
    OsString::from_vec(bytes.strip_suffix(b" (deleted)").unwrap_or(bytes).to_vec()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_arrive_with_their_names() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let bind = || TcpListener::bind("127.0.0.1:0").unwrap();
        let sockets = [("http".to_owned(), bind()), ("ssh".to_owned(), bind())];
        send(&ours, &sockets).unwrap();
        let received = receive(&theirs).unwrap();
        let told = |sockets: &[(String, TcpListener)]| -> Vec<_> {
            sockets.iter().map(|(name, socket)| (name.clone(), socket.local_addr().unwrap())).collect()
        };
        assert_eq!(told(&received), told(&sockets));
        drop(ours);
        assert!(receive(&theirs).is_err(), "nobody is there");
    }

    #[test]
    fn the_installed_program_is_started() {
        assert_eq!(installed(OsStr::new("/usr/bin/x (deleted)")), PathBuf::from("/usr/bin/x"));
        assert_eq!(installed(OsStr::new("/usr/bin/x")), PathBuf::from("/usr/bin/x"));
    }
}
