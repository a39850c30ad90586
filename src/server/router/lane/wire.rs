//! A bare connection to a backend, and the buffer that everything is read into.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes that are read at once.
const BUFFER: usize = 128 * 1024;

thread_local! {
    /// One for all connections of a thread: an idle connection holds no buffer.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER].into_boxed_slice());
}

/// Reads what is there and looks at it. `look` must not read.
pub(super) fn poll_look<S: AsyncRead + Unpin, T>(
    stream: &mut S,
    context: &mut Context<'_>,
    look: impl FnOnce(&[u8], &mut Context<'_>) -> T,
) -> Poll<io::Result<T>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut buffer = ReadBuf::new(scratch);
        std::task::ready!(Pin::new(stream).poll_read(context, &mut buffer))?;
        Poll::Ready(Ok(look(buffer.filled(), context)))
    })
}

/// One connection to a backend.
#[derive(Debug)]
pub(in crate::server::router) struct Wire {
    stream: TcpStream,
}

impl Wire {
    pub(super) async fn dial(address: SocketAddr, limit: Duration) -> io::Result<Self> {
        let stream = tokio::time::timeout(limit, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        Ok(Self { stream })
    }

    /// Whether an idle one is still there: it has nothing to say.
    pub(in crate::server::router) fn is_quiet(&self) -> bool {
        let read = self.stream.try_read(&mut [0]);
        matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    pub(super) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut written = 0;
        poll_fn(|context| {
            while written < bytes.len() {
                let part = &bytes[written..];
                match std::task::ready!(Pin::new(&mut self.stream).poll_write(context, part))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    more => written += more,
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    pub(super) fn poll_look<T>(
        &mut self,
        context: &mut Context<'_>,
        look: impl FnOnce(&[u8], &mut Context<'_>) -> T,
    ) -> Poll<io::Result<T>> {
        poll_look(&mut self.stream, context, look)
    }
}
