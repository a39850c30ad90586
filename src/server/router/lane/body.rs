//! An answer's body on its way through, up to its end and no further.

use std::io;
use std::task::Context;

use tokio::io::AsyncWrite;

use super::answer::Framing;
use super::chunks::{Broken, Chunks};
use super::outbox::Outbox;
use crate::server::router::traffic::Visit;

/// A body, at the place to which it has come.
pub(super) struct Body {
    ending: Ending,
    /// Whether the backend's connection can be asked again afterwards.
    pub(super) keep: bool,
}

#[derive(Debug, Clone, Copy)]
enum Ending {
    /// Bytes that are left.
    Length(u64),
    Chunked(Chunks),
    /// With the connection; to the client it is chunked.
    Close,
    Over,
}

impl Body {
    pub(super) fn new(framing: Framing, keep: bool) -> Self {
        let ending = match framing {
            Framing::None => Ending::Over,
            Framing::Length(bytes) => Ending::Length(bytes),
            Framing::Chunked => Ending::Chunked(Chunks::START),
            Framing::Close => Ending::Close,
        };
        Self { ending, keep }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.ending, Ending::Over)
    }

    /// Sends on what is the body's of these bytes.
    pub(super) fn pass_on<S: AsyncWrite + Unpin>(
        &mut self,
        bytes: &[u8],
        stream: &mut S,
        context: &mut Context<'_>,
        outbox: &mut Outbox,
        visit: &mut Visit,
    ) -> io::Result<()> {
        let wrapped = matches!(self.ending, Ending::Close);
        let (whole, data) = self.pass(bytes).map_err(|Broken| io::Error::from(io::ErrorKind::InvalidData))?;
        // Whatever comes after the end was not asked for.
        self.keep &= whole == bytes.len();
        visit.sent(data);
        match wrapped {
            true => outbox.put_chunk(bytes),
            false => outbox.send(&bytes[..whole], stream, context)?,
        }
        Ok(())
    }

    /// The backend's connection has ended.
    pub(super) fn end(&mut self, outbox: &mut Outbox) -> io::Result<()> {
        match self.ending {
            Ending::Close => {
                outbox.put(b"0\r\n\r\n");
                self.ending = Ending::Over;
                Ok(())
            }
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// How many bytes are the body's, and how many of them data.
    fn pass(&mut self, bytes: &[u8]) -> Result<(usize, usize), Broken> {
        match &mut self.ending {
            Ending::Length(left) => {
                let here = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= here as u64;
                if *left == 0 {
                    self.ending = Ending::Over;
                }
                Ok((here, here))
            }
            Ending::Chunked(chunks) => {
                let passed = chunks.pass(bytes)?;
                if chunks.is_over() {
                    self.ending = Ending::Over;
                }
                Ok(passed)
            }
            Ending::Close => Ok((bytes.len(), bytes.len())),
            Ending::Over => Ok((0, 0)),
        }
    }
}
