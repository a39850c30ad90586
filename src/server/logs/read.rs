//! Reads old lines from a snapshot: finds where the last n begin, from the end, then reads forward in pieces, so that
//! neither a large request nor a slow reader holds more than a piece in memory.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use futures_util::{Stream, stream};

use super::filter::LogFilter;
use super::line::parse;
use super::ring::{Position, Snapshot};
use crate::server::domain::LogLine;

/// Bytes read at a time; longer than the longest line.
pub(super) const PIECE: u64 = 256 * 1024;

/// The old lines a reader asked for.
#[derive(Debug)]
pub(super) struct Old {
    wanted: usize,
    filter: LogFilter,
    /// What is left to read: number, file, from, to.
    left: VecDeque<(u64, File, u64, u64)>,
    end: Position,
    sought: bool,
}

impl Old {
    pub(super) fn new(snapshot: Snapshot, wanted: usize, filter: LogFilter) -> Self {
        let end = snapshot.end();
        let left = snapshot.files.into_iter().map(|(number, file, length)| (number, file, 0, length)).collect();
        Self { wanted, filter, left, end, sought: false }
    }

    /// Every line from a position on, or from the oldest that is left.
    pub(super) fn since(snapshot: Snapshot, from: Position) -> Self {
        let mut old = Self::new(snapshot, 0, LogFilter::all());
        old.sought = true;
        old.left.retain_mut(|(number, _, begin, to)| {
            if *number == from.segment {
                *begin = from.place.min(*to);
            }
            *number >= from.segment && begin < to
        });
        old
    }

    /// Where the next piece begins.
    pub(super) fn position(&self) -> Position {
        self.left.front().map_or(self.end, |(segment, _, place, _)| Position { segment: *segment, place: *place })
    }

    /// Where the line after the last begins.
    pub(super) fn end(&self) -> Position {
        self.end
    }

    /// Bytes that are left to read.
    pub(super) fn bytes(&self) -> u64 {
        self.left.iter().map(|(_, _, from, to)| to - from).sum()
    }

    /// The next piece of lines; `None` after the last.
    pub(super) async fn next(mut self) -> io::Result<(Option<Vec<LogLine>>, Self)> {
        let (lines, old) =
            tokio::task::spawn_blocking(move || (self.next_piece(), self)).await.map_err(io::Error::other)?;
        Ok((lines?, old))
    }

    /// Pieces of lines, oldest first. A file that cannot be read ends it.
    pub(super) fn stream(self) -> impl Stream<Item = Vec<LogLine>> + Send {
        stream::unfold(self, |mut old| async move {
            let (lines, old) = tokio::task::spawn_blocking(move || (old.next_piece(), old)).await.ok()?;
            match lines {
                Ok(lines) => lines.map(|lines| (lines, old)),
                Err(error) => {
                    tracing::warn!(%error, "old log lines could not be read");
                    None
                }
            }
        })
    }

    fn next_piece(&mut self) -> io::Result<Option<Vec<LogLine>>> {
        if !self.sought {
            self.sought = true;
            self.seek()?;
        }
        let Some((_, file, from, to)) = self.left.front_mut() else { return Ok(None) };
        let mut piece = read(file, *from, (*from + PIECE).min(*to))?;
        if *from + (piece.len() as u64) < *to {
            piece.truncate(last_line_end(&piece));
        }
        *from += piece.len() as u64;
        if *from >= *to || piece.is_empty() {
            self.left.pop_front();
        }
        Ok(Some(self.lines_of(&piece).collect()))
    }

    /// Moves the beginning to where the wanted lines begin.
    fn seek(&mut self) -> io::Result<()> {
        let mut missing = self.wanted;
        for index in (0..self.left.len()).rev() {
            let (_, file, _, length) = &self.left[index];
            let mut to = *length;
            while to > 0 && missing > 0 {
                let from = to.saturating_sub(PIECE);
                let piece = read(file, from, to)?;
                let whole = if from == 0 { 0 } else { first_whole_line(&piece) };
                let (begin, found) = self.begin_of_last(&piece[whole..], missing);
                missing -= found;
                to = from + (whole + begin) as u64;
            }
            if missing == 0 {
                self.left[index].2 = to;
                self.left.drain(..index);
                return Ok(());
            }
        }
        Ok(())
    }

    /// Where the last `n` matching lines of a piece begin, and how many there were.
    fn begin_of_last(&self, piece: &[u8], n: usize) -> (usize, usize) {
        let (mut begin, mut found) = (piece.len(), 0);
        while begin > 0 && found < n {
            let end = begin;
            begin = last_line_end(&piece[..end - 1]);
            found += self.lines_of(&piece[begin..end]).count();
        }
        (begin, found)
    }

    fn lines_of<'a>(&'a self, piece: &'a [u8]) -> impl Iterator<Item = LogLine> + 'a {
        piece
            .split(|byte| *byte == b'\n')
            .filter_map(|line| parse(std::str::from_utf8(line).ok()?))
            .filter(|line| self.filter.lets_through(line))
    }
}

/// Where the first line begins that did not begin before the piece; 0 if the piece is all one line, which is none of
/// ours, so that reading still gets on.
fn first_whole_line(piece: &[u8]) -> usize {
    piece.iter().position(|byte| *byte == b'\n').map(|at| at + 1).filter(|at| *at < piece.len()).unwrap_or(0)
}

/// The index after the last line end, or 0.
fn last_line_end(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
}

fn read(file: &File, from: u64, to: u64) -> io::Result<Vec<u8>> {
    let mut piece = vec![0; usize::try_from(to.saturating_sub(from)).unwrap_or(0)];
    file.read_exact_at(&mut piece, from)?;
    Ok(piece)
}
