//! A request's body on its way in: counted, unzipped, and watched for its end. Nothing of it is kept.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_compression::tokio::bufread::GzipDecoder;
use bytes::Bytes;
use futures_util::stream::{Fuse, Stream, StreamExt};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncReadExt, BufReader, ReadBuf};
use tokio::time::{Instant, Sleep};
use tokio_util::io::StreamReader;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::ByteStream;
use super::protocol::{self, Head, Parser, Request, Wrong};

const BUFFER: usize = 64 * 1024;

/// A client that sends nothing for so long has gone, or means harm.
const SILENCE: Duration = Duration::from_secs(120);

/// The reading end.
pub(super) struct Body {
    reader: Pin<Box<dyn AsyncBufRead + Send>>,
    read: CancellationToken,
    limit: u64,
    _read_when_dropped: DropGuard,
}

impl Body {
    /// At most `limit` bytes, as they come and (if `gzip`) as they unzip.
    pub(super) fn new(stream: ByteStream, gzip: bool, limit: u64) -> Self {
        let read = CancellationToken::new();
        let watched = StreamReader::new(LookAhead::new(stream, read.clone()));
        let reader: Pin<Box<dyn AsyncBufRead + Send>> = if gzip {
            let plain = GzipDecoder::new(BufReader::with_capacity(BUFFER, Bounded::new(watched, limit)));
            Box::pin(BufReader::with_capacity(BUFFER, Bounded::new(plain, limit)))
        } else {
            Box::pin(BufReader::with_capacity(BUFFER, Bounded::new(watched, limit)))
        };
        Self { reader, limit, _read_when_dropped: read.clone().drop_guard(), read }
    }

    /// Fires when the last byte has arrived, or the body was given up.
    pub(super) fn wholly_read(&self) -> CancellationToken {
        self.read.clone()
    }

    /// Reads what precedes the pack.
    pub(super) async fn request(&mut self, max_commands: usize) -> Result<Request, Wrong> {
        let mut parser = Parser::new(max_commands);
        let mut line = Vec::new();
        loop {
            match self.head().await? {
                Head::Flush if parser.flush() => return Ok(parser.finish()),
                Head::Flush => {}
                Head::Delimiter => return Err("a delimiter packet is not expected in a push".into()),
                Head::Data(size) => parser.line(self.data(&mut line, size).await?)?,
            }
        }
    }

    /// One packet's head.
    pub(super) async fn head(&mut self) -> Result<Head, Wrong> {
        let mut digits = [0; 4];
        self.reader.read_exact(&mut digits).await.map_err(|error| ended(&error))?;
        protocol::head(digits)
    }

    /// One packet's data.
    pub(super) async fn data<'a>(&mut self, line: &'a mut Vec<u8>, size: usize) -> Result<&'a [u8], Wrong> {
        line.resize(size, 0);
        self.reader.read_exact(line).await.map_err(|error| ended(&error))?;
        Ok(line)
    }

    /// Throws the rest away, so that the client, which reads no answer before it has sent all, reads this one.
    pub(super) async fn drain(mut self) {
        let rest = (&mut self.reader).take(self.limit);
        let _ = tokio::io::copy(&mut BufReader::with_capacity(BUFFER, rest), &mut tokio::io::sink()).await;
    }

    /// For code that blocks; call it within the runtime.
    pub(super) fn blocking(&mut self) -> impl io::Read + '_ {
        tokio_util::io::SyncIoBridge::new(&mut self.reader)
    }
}

fn ended(error: &io::Error) -> Wrong {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the request ended in the middle of a packet line".into(),
        _ => format!("the request could not be read: {error}"),
    }
}

/// Hands out a chunk only when the next one, or the end, has arrived: so the end is known before the last chunk is
/// worked on.
struct LookAhead {
    inner: Fuse<ByteStream>,
    held: Option<Bytes>,
    ended: CancellationToken,
    silence: Pin<Box<Sleep>>,
}

impl LookAhead {
    fn new(stream: ByteStream, ended: CancellationToken) -> Self {
        Self { inner: stream.fuse(), held: None, ended, silence: Box::pin(tokio::time::sleep(SILENCE)) }
    }
}

impl Stream for LookAhead {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let Poll::Ready(next) = self.inner.poll_next_unpin(context) else {
                ready!(self.silence.as_mut().poll(context));
                return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
            };
            match next {
                Some(Ok(chunk)) => {
                    self.silence.as_mut().reset(Instant::now() + SILENCE);
                    if let Some(earlier) = self.held.replace(chunk) {
                        return Poll::Ready(Some(Ok(earlier)));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    self.ended.cancel();
                    return Poll::Ready(self.held.take().map(Ok));
                }
            }
        }
    }
}

/// Fails, rather than ends, above a number of bytes.
struct Bounded<R> {
    inner: R,
    limit: u64,
    left: u64,
}

impl<R> Bounded<R> {
    fn new(inner: R, limit: u64) -> Self {
        Self { inner, limit, left: limit }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Bounded<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        let read = (buffer.filled().len() - before) as u64;
        if read > self.left {
            // Once said; what follows is thrown away by `drain`, which has its own bound.
            self.left = u64::MAX;
            buffer.set_filled(before);
            let limit = self.limit;
            return Poll::Ready(Err(io::Error::other(format!("the push is larger than the limit of {limit} bytes"))));
        }
        self.left -= read;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    fn stream(chunks: Vec<&'static [u8]>) -> ByteStream {
        futures_util::stream::iter(chunks.into_iter().map(|chunk| Ok(Bytes::from_static(chunk)))).boxed()
    }

    #[tokio::test]
    async fn the_end_is_known_when_the_last_chunk_is_read() {
        let mut body = Body::new(stream(vec![b"0000", b"rest"]), false, 100);
        let read = body.wholly_read();
        assert!(!read.is_cancelled());
        assert_eq!(body.request(1).await.unwrap(), Request::default());
        let mut rest = [0; 4];
        body.reader.read_exact(&mut rest).await.unwrap();
        assert!(read.is_cancelled());
    }

    #[tokio::test]
    async fn a_bomb_is_refused() {
        let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        zipped.write_all(&vec![0; 1 << 20]).unwrap();
        let zipped = Bytes::from(zipped.finish().unwrap());
        assert!(zipped.len() < 4096);
        let stream = futures_util::stream::iter([Ok(zipped)]).boxed();
        let mut body = Body::new(stream, true, 100_000);
        let refused = tokio::task::spawn_blocking(move || body.blocking().read_to_end(&mut Vec::new()).unwrap_err());
        assert!(refused.await.unwrap().to_string().contains("limit of 100000 bytes"));
    }
}
