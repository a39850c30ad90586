//! The server's ends of a session: a terminal's master, or the pipe into a program.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe;

/// What a terminal takes for the end of input (^D).
const END_OF_INPUT: u8 = 4;

/// One half of a terminal: typed into, or read from.
pub(super) struct Half {
    master: Arc<AsyncFd<OwnedFd>>,
    ended: bool,
}

/// Both halves of a terminal.
#[expect(
    deprecated,
    reason = "what replaces it is unsafe, for descriptors that another could close; this one is owned"
)]
pub(super) fn halves(master: OwnedFd) -> io::Result<(Half, Half)> {
    fcntl_setfl(&master, fcntl_getfl(&master)? | OFlags::NONBLOCK)?;
    let master = Arc::new(AsyncFd::new(master)?);
    Ok((Half { master: master.clone(), ended: false }, Half { master, ended: false }))
}

impl AsyncRead for Half {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.master.poll_read_ready(cx))?;
            match guard.try_io(|master| Ok(rustix::io::read(master, buf.initialize_unfilled())?)) {
                Ok(Ok(count)) => {
                    buf.advance(count);
                    return Poll::Ready(Ok(()));
                }
                // So a master says that nobody is left at the other side.
                Ok(Err(error)) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => return Poll::Ready(Ok(())),
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Half {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.master.poll_write_ready(cx))?;
            if let Ok(written) = guard.try_io(|master| Ok(rustix::io::write(master, bytes)?)) {
                return Poll::Ready(written);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.ended {
            ready!(self.as_mut().poll_write(cx, &[END_OF_INPUT]))?;
            self.ended = true;
        }
        Poll::Ready(Ok(()))
    }
}

/// The writing end of a pipe; shut down, it is closed.
pub(super) struct Input(Option<pipe::Sender>);

impl Input {
    pub(super) fn new(end: OwnedFd) -> io::Result<Self> {
        pipe::Sender::from_owned_fd(end).map(|sender| Self(Some(sender)))
    }
}

impl AsyncWrite for Input {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Some(sender) => Pin::new(sender).poll_write(cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0 = None;
        Poll::Ready(Ok(()))
    }
}
