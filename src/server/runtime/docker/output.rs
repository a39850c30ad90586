//! A container's output on its way from Docker to the logs: in order and exactly once, also across servers. Docker keeps
//! it; how far it was handed on stands in a small file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::engine::Engine;
use crate::server::domain::{AppName, LogLine, LogSource};
use crate::server::runtime::files;

/// Lines handed on together.
const MOST: usize = 64;
/// A line longer than this goes on as a line of its own.
const LONGEST: usize = 64 * 1024;
const AGAIN: Duration = Duration::from_millis(500);

/// Whose output, and where it goes.
pub(super) struct Output {
    pub(super) engine: Engine,
    /// The container's id.
    pub(super) container: String,
    pub(super) file: PathBuf,
    pub(super) app: AppName,
    pub(super) source: LogSource,
    pub(super) logs: mpsc::Sender<(AppName, LogLine)>,
}

/// How far a container's output was handed on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Position {
    container: String,
    /// When Docker got the last piece that was handed on,
    at: Timestamp,
    /// and how many pieces of that very instant were.
    count: usize,
}

impl Position {
    fn read(file: &Path, container: &str) -> Self {
        let known = files::read_json::<Self>(file).ok().filter(|position| position.container == container);
        known.unwrap_or_else(|| Self { container: container.to_owned(), ..Self::default() })
    }

    fn pass(&mut self, at: Timestamp) {
        self.count = if at == self.at { self.count + 1 } else { 1 };
        self.at = at;
    }
}

impl Output {
    /// Hands on all there is and all that comes, until the container has ended and nothing is left of it.
    pub(super) async fn follow(self) {
        let mut position = Position::read(&self.file, &self.container);
        loop {
            self.follow_from(&mut position, true).await;
            match self.engine.state(&self.container).await {
                Ok(Some(state)) if state.running == Some(true) => {}
                // Following ends with the container, sometimes before its last words.
                Ok(_) => return self.follow_from(&mut position, false).await,
                // The daemon is away; the container may not be.
                Err(_) => {}
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn follow_from(&self, position: &mut Position, follow: bool) {
        let options = LogsOptionsBuilder::default().follow(follow).stdout(true).stderr(true).timestamps(true);
        let options = options.since(i32::try_from(position.at.as_second()).unwrap_or_default()).build();
        let pieces = self.engine.docker.logs(&self.container, Some(options)).ready_chunks(MOST);
        let mut pieces = std::pin::pin!(pieces);
        let (mut lines, mut again) = (Lines { next: position.clone(), ..Lines::default() }, position.count);
        while let Some(batch) = pieces.next().await {
            for piece in batch {
                // The daemon has gone, or the output has been thrown away.
                let Ok(piece) = piece else { return };
                let Some((at, text)) = stamped(&piece.into_bytes()) else { continue };
                let seen = at < position.at || (at == position.at && again > 0);
                if seen {
                    again = again.saturating_sub(usize::from(at == position.at));
                } else {
                    lines.push(at, &text);
                }
            }
            self.hand_on(&mut lines, position).await;
        }
        lines.end();
        self.hand_on(&mut lines, position).await;
    }

    async fn hand_on(&self, lines: &mut Lines, position: &mut Position) {
        for batch in lines.whole.chunks(MOST.min(self.logs.max_capacity())) {
            // From here on nothing waits: what is handed on is written down in the same breath.
            let Ok(permits) = self.logs.reserve_many(batch.len()).await else { return };
            for (permit, (at, text, after)) in permits.zip(batch) {
                let text = String::from_utf8_lossy(text).into_owned();
                permit.send((self.app.clone(), LogLine { at: *at, source: self.source.clone(), text }));
                position.clone_from(after);
            }
            if let Err(error) = files::write_json(&self.file, position, false) {
                tracing::error!(app.name = %self.app, "output may be seen twice: {error}");
            }
        }
        lines.whole.clear();
    }
}

/// Docker cuts long lines into pieces; only the last one has the line's end.
#[derive(Default)]
struct Lines {
    next: Position,
    rest: Vec<u8>,
    begun: Option<Timestamp>,
    whole: Vec<(Timestamp, Vec<u8>, Position)>,
}

impl Lines {
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
fn stamped(piece: &[u8]) -> Option<(Timestamp, Vec<u8>)> {
    let space = piece.iter().position(|byte| *byte == b' ')?;
    let at = std::str::from_utf8(&piece[..space]).ok()?.parse().ok()?;
    Some((at, piece[space + 1..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn pieces_become_lines_and_positions() {
        let mut lines = Lines::default();
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
}
