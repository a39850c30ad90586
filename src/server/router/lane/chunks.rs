//! Where a chunked body ends (RFC 9112 7.1), in bytes that are passed on as they are. Pure.

/// The place in a chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunks {
    /// In a size: what it comes to so far, and how many digits there were.
    Size(u64, u8),
    /// Between a size and its line's end.
    Extension(u64),
    SizeEnd(u64),
    Data(u64),
    DataCr,
    DataLf,
    /// At the beginning of a line after the last chunk.
    Line,
    Trailer,
    TrailerEnd,
    LastLf,
    End,
}

/// That is no chunked body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken;

impl Chunks {
    pub(super) const START: Self = Self::Size(0, 0);

    pub(super) fn is_over(self) -> bool {
        self == Self::End
    }

    /// Goes on over these bytes; how many of them belong to the body, and how many of those are data.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> Result<(usize, usize), Broken> {
        let (mut at, mut data) = (0, 0);
        while at < bytes.len() && !self.is_over() {
            if let Self::Data(left) = *self {
                let here = (bytes.len() - at).min(usize::try_from(left).unwrap_or(usize::MAX));
                (at, data) = (at + here, data + here);
                *self = if here as u64 == left { Self::DataCr } else { Self::Data(left - here as u64) };
                continue;
            }
            *self = self.after(bytes[at])?;
            at += 1;
        }
        Ok((at, data))
    }

    fn after(self, byte: u8) -> Result<Self, Broken> {
        Ok(match (self, byte) {
            (Self::Size(size, digits), byte) if byte.is_ascii_hexdigit() && digits < 16 => {
                let digit = (byte as char).to_digit(16).map_or(0, u64::from);
                Self::Size(size << 4 | digit, digits + 1)
            }
            (Self::Size(size, 1..), b'\r') => Self::SizeEnd(size),
            (Self::Size(size, 1..), b';' | b' ' | b'\t') => Self::Extension(size),
            (Self::Extension(size), b'\r') => Self::SizeEnd(size),
            (Self::Extension(size), byte) if byte != b'\n' => Self::Extension(size),
            (Self::SizeEnd(0), b'\n') => Self::Line,
            (Self::SizeEnd(size), b'\n') => Self::Data(size),
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::START,
            (Self::Line, b'\r') => Self::LastLf,
            (Self::LastLf, b'\n') => Self::End,
            (Self::Line | Self::Trailer, byte) if !matches!(byte, b'\r' | b'\n' | 0) => Self::Trailer,
            (Self::Trailer, b'\r') => Self::TrailerEnd,
            (Self::TrailerEnd, b'\n') => Self::Line,
            _ => return Err(Broken),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In pieces of that size: bytes of the body, and of its data.
    fn passed(text: &str, pieces: usize) -> Result<(usize, usize, bool), Broken> {
        let (mut chunks, mut total) = (Chunks::START, (0, 0));
        for piece in text.as_bytes().chunks(pieces) {
            let (bytes, data) = chunks.pass(piece)?;
            total = (total.0 + bytes, total.1 + data);
        }
        Ok((total.0, total.1, chunks.is_over()))
    }

    #[test]
    fn the_end_is_found_in_whatever_pieces_it_comes() {
        let body = "5\r\nhello\r\n00A;x=\"y\"\r\n0123456789\r\n0\r\nX-Sum: 1\r\nX-B: 2\r\n\r\n";
        for pieces in 1..=body.len() {
            assert_eq!(passed(body, pieces), Ok((body.len(), 15, true)), "{pieces}");
        }
        assert_eq!(passed("0\r\n\r\nHTTP/1.1 200 OK", 100), Ok((5, 0, true)), "what comes after is not the body's");
        assert_eq!(passed("5\r\nhel", 2), Ok((6, 3, false)));
    }

    #[test]
    fn what_two_readers_could_read_differently_is_broken() {
        for text in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "0x1\r\n",
            "5\nhello",
            "5\r\nhelloX",
            "5\r\nhello\n",
            "5;x\ny\r\nhello",
            "11111111111111111\r\n",
            "0\r\nX: 1\n\r\n",
            "0\n\n",
            ";x\r\n",
            "0\r\n\rX",
        ] {
            assert_eq!(passed(text, 100), Err(Broken), "{text:?}");
        }
    }
}
