//! Output that somebody else keeps, on its way to the logs: in order, none lost, also across servers. How far it was
//! handed on and kept stands in a small file. A server that is killed between keeping lines and saying so leaves a few for
//! the next one to hand on again; else each comes once.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::{Stream, StreamExt as _};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Lines, Spoken, files};
use crate::server::domain::{LogLine, LogSource, WorkloadId};

/// What a position takes in its file: more than it ever needs, so that each is written over the one before.
const WIDTH: usize = 512;
/// Lines handed on together.
const MOST: usize = 64;
/// A line longer than this goes on as a line of its own.
pub(super) const LONGEST: usize = 64 * 1024;

/// A piece of output, when it was said, and whether it ends a line.
pub(super) type Piece = (Timestamp, Vec<u8>);

/// Whose output, and where it goes.
pub(super) struct Passage {
    pub(super) file: PathBuf,
    pub(super) workload: WorkloadId,
    pub(super) source: LogSource,
    pub(super) logs: Lines,
}

/// How far a container's output was handed on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Position {
    /// Whose.
    pub(super) container: String,
    /// When the last piece that was handed on was said,
    pub(super) at: Timestamp,
    /// and how many pieces of that very instant were.
    count: usize,
}

impl Position {
    /// What of the output that is read from here on, or from some time before, has been handed on.
    pub(super) fn known(&self) -> Known {
        Known { at: self.at, count: self.count }
    }

    /// One more piece is handed on.
    pub(super) fn pass(&mut self, at: Timestamp) {
        self.count = if at == self.at { self.count + 1 } else { 1 };
        self.at = at;
    }

    /// One write, as long as the one before.
    fn write(&self, file: &File) -> io::Result<()> {
        let mut text = serde_json::to_vec(self)?;
        text.resize(text.len().max(WIDTH), b' ');
        file.write_all_at(&text, 0)
    }
}

/// Tells pieces that come again from new ones.
pub(super) struct Known {
    at: Timestamp,
    count: usize,
}

impl Known {
    /// Whether the next piece, which was said then, was handed on.
    pub(super) fn has(&mut self, at: Timestamp) -> bool {
        let has = at < self.at || (at == self.at && self.count > 0);
        self.count -= usize::from(has && at == self.at);
        has
    }
}

impl Passage {
    /// How far an earlier server came, with whichever container.
    pub(super) fn position(&self) -> Option<Position> {
        files::read_json(&self.file).ok()
    }

    /// How far that container's output was handed on.
    pub(super) fn of(&self, container: &str) -> Position {
        let known = self.position().filter(|position| position.container == container);
        known.unwrap_or_else(|| Position { container: container.to_owned(), ..Position::default() })
    }

    /// Hands on what comes, from `position` on, until nothing comes any more. What was said in the second of the
    /// position may come again: it is known. Pieces without a line's end are one line with the next.
    pub(super) async fn carry(&self, position: &mut Position, pieces: impl Stream<Item = Piece>) {
        let mut pieces = std::pin::pin!(pieces.ready_chunks(MOST));
        let file = self.file().map(Arc::new).inspect_err(|error| self.complain(error)).ok();
        let (mut lines, mut known) = (Pieces { next: position.clone(), ..Pieces::default() }, position.known());
        while let Some(batch) = pieces.next().await {
            for (at, text) in batch {
                if !known.has(at) {
                    lines.push(at, &text);
                }
            }
            self.hand_on(&mut lines, position, file.as_ref()).await;
        }
        lines.end();
        self.hand_on(&mut lines, position, file.as_ref()).await;
    }

    async fn hand_on(&self, lines: &mut Pieces, position: &mut Position, file: Option<&Arc<File>>) {
        for batch in lines.whole.chunks(MOST.min(self.logs.max_capacity())) {
            // From here on nothing waits: what is handed on is passed in the same breath.
            let Ok(permits) = self.logs.reserve_many(batch.len()).await else { return };
            let last = batch.len().saturating_sub(1);
            for (number, (permit, (at, text, after))) in permits.zip(batch).enumerate() {
                let text = String::from_utf8_lossy(text).into_owned();
                let line = LogLine { at: *at, source: self.source.clone(), text };
                let mut spoken = Spoken::new(self.workload.clone(), line);
                if let Some(file) = file.filter(|_| number == last) {
                    let (file, after) = (file.clone(), after.clone());
                    spoken.kept = Some(Box::new(move || {
                        if let Err(error) = after.write(&file) {
                            tracing::error!("output may be seen twice: {error}");
                        }
                    }));
                }
                permit.send(spoken);
                position.clone_from(after);
            }
        }
        lines.whole.clear();
    }

    /// The file of the position. Once it is removed with its replica, what is still written is written to nothing.
    fn file(&self) -> io::Result<File> {
        File::options().write(true).create(true).truncate(false).mode(0o600).open(&self.file)
    }

    fn complain(&self, error: &io::Error) {
        tracing::error!(app.name = %self.workload.app, "output may be seen twice: {error}");
    }
}

/// Long lines come in pieces; only the last one has the line's end.
#[derive(Default)]
struct Pieces {
    next: Position,
    rest: Vec<u8>,
    begun: Option<Timestamp>,
    whole: Vec<(Timestamp, Vec<u8>, Position)>,
}

impl Pieces {
    fn push(&mut self, at: Timestamp, piece: &[u8]) {
        self.next.pass(at);
        self.begun.get_or_insert(at);
        self.rest.extend_from_slice(piece);
        if self.rest.ends_with(b"\n") || self.rest.len() >= LONGEST {
            self.end();
        }
    }

    fn end(&mut self) {
        let Some(begun) = self.begun.take() else { return };
        let mut line = std::mem::take(&mut self.rest);
        for end in [b'\n', b'\r'] {
            if line.last() == Some(&end) {
                line.pop();
            }
        }
        self.whole.push((begun, line, self.next.clone()));
    }
}

/// `2026-11-25T21:33:00.754586123Z text`
pub(super) fn stamped(piece: &[u8]) -> Option<Piece> {
    let space = piece.iter().position(|byte| *byte == b' ')?;
    let at = std::str::from_utf8(&piece[..space]).ok()?.parse().ok()?;
    Some((at, piece[space + 1..].to_vec()))
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn pieces_become_lines_and_positions() {
        let mut lines = Pieces::default();
        for (second, piece) in [(1, "a\r\n"), (2, "long "), (2, "line\n"), (2, "x\n"), (3, "no end")] {
            lines.push(at(second), piece.as_bytes());
        }
        lines.end();
        lines.end();
        let shown: Vec<_> = lines
            .whole
            .iter()
            .map(|(at, text, after)| (at.as_second(), String::from_utf8_lossy(text).into_owned(), after.count))
            .collect();
        let expected = [(1, "a", 1), (2, "long line", 2), (2, "x", 3), (3, "no end", 1)];
        assert_eq!(shown, expected.map(|(at, text, count)| (at, text.to_owned(), count)));
    }

    #[test]
    fn stamps_are_cut_off() {
        let (at, text) = stamped(b"2026-11-25T21:33:00.754586123Z  two blanks\n").unwrap();
        assert_eq!((at.subsec_nanosecond(), text.as_slice()), (754_586_123, &b" two blanks\n"[..]));
        assert_eq!(stamped(b"no stamp"), None);
    }

    #[tokio::test]
    async fn what_was_handed_on_is_not_handed_on_again() {
        let dir = tempfile::tempdir().unwrap();
        let (logs, mut lines) = mpsc::channel(16);
        let id = WorkloadId {
            app: crate::server::domain::AppName::parse("shop").unwrap(),
            process: crate::server::domain::ProcessType::web(),
            generation: 1,
        };
        let file = dir.path().join("x.position");
        let passage = Passage { file, workload: id, source: LogSource::Platform, logs };
        let said = [(1, "a\n"), (2, "b\n"), (2, "c\n"), (2, "d\n"), (3, "e\n")];
        let pieces = |count: usize| {
            let said: Vec<_> =
                said.iter().take(count).map(|(second, text)| (at(*second), text.as_bytes().to_vec())).collect();
            futures_util::stream::iter(said)
        };
        let mut heard = |keep: bool| {
            let mut texts = Vec::new();
            while let Ok(Spoken { line, kept, .. }) = lines.try_recv() {
                if let Some(kept) = kept.filter(|_| keep) {
                    kept();
                }
                texts.push(line.text);
            }
            texts
        };
        passage.carry(&mut passage.of("one"), pieces(3)).await;
        assert_eq!(heard(true), ["a", "b", "c"]);
        passage.carry(&mut passage.of("one"), pieces(5)).await;
        assert_eq!(heard(false), ["d", "e"]);
        passage.carry(&mut passage.of("one"), pieces(5)).await;
        assert_eq!(heard(true), ["d", "e"], "what was not kept comes again");
        passage.carry(&mut passage.of("one"), pieces(5)).await;
        passage.carry(&mut passage.of("another"), pieces(1)).await;
        assert_eq!(heard(true), ["a"]);
    }
}
