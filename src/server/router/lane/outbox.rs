//! What is on its way to a client.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use super::answer::{self, Head};
use super::body::Body;

/// Bytes that are copied to be one write with what waits before them; more are worth a gathering write.
const TOGETHER: usize = 16 * 1024;

/// Bytes that the client's stream has not taken yet.
#[derive(Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outbox {
    /// Adds an answer's head if `all` begins with a whole one; its status, its body, and where in `all` that begins.
    /// `dress` adds lines of ours.
    pub(super) fn begin(
        &mut self,
        all: &[u8],
        head_only: bool,
        dress: impl FnOnce(&mut Vec<u8>),
    ) -> io::Result<Option<(u16, Body, usize)>> {
        let mut start = 0;
        loop {
            let before = self.bytes.len();
            match answer::read(&all[start..], head_only, &mut self.bytes) {
                // What is said in between counts: an app could say it for ever.
                Head::Partial if all.len() < answer::LONGEST => return Ok(None),
                // What the app says in between is not passed on.
                Head::Informational(length) => start += length,
                Head::Partial | Head::Nonsense => {
                    self.bytes.truncate(before);
                    return Err(io::ErrorKind::InvalidData.into());
                }
                Head::Answer(answer) => {
                    dress(&mut self.bytes);
                    self.bytes.extend_from_slice(b"\r\n");
                    return Ok(Some((answer.status, Body::new(answer.body, answer.keep), start + answer.length)));
                }
            }
        }
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn put_chunk(&mut self, data: &[u8]) {
        if !data.is_empty() {
            self.bytes.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
            self.bytes.extend_from_slice(data);
            self.bytes.extend_from_slice(b"\r\n");
        }
    }

    /// Sends what can be sent at once of what waits and of `bytes`, and keeps the rest.
    pub(super) fn send<S: AsyncWrite + Unpin>(
        &mut self,
        mut bytes: &[u8],
        stream: &mut S,
        context: &mut Context<'_>,
    ) -> io::Result<()> {
        while bytes.len() > TOGETHER {
            let waiting = &self.bytes[self.sent..];
            let both = [IoSlice::new(waiting), IoSlice::new(bytes)];
            let written = match (waiting.is_empty(), Pin::new(&mut *stream)) {
                (true, stream) => stream.poll_write(context, bytes),
                (false, stream) => stream.poll_write_vectored(context, &both),
            };
            let Poll::Ready(written) = written? else { break };
            let (of_waiting, of_bytes) = match written.checked_sub(waiting.len()) {
                Some(more) => (waiting.len(), more),
                None => (written, 0),
            };
            self.sent += of_waiting;
            bytes = &bytes[of_bytes..];
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Ready when everything has been taken.
    pub(super) fn poll_empty<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.sent < self.bytes.len() {
            match ready!(Pin::new(&mut *stream).poll_write(context, &self.bytes[self.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.sent += written,
            }
        }
        self.bytes.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}
