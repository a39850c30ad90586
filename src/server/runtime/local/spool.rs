//! A replica's output on disk: bounded, numbered, written by the shim and read by the server, so that the app never
//! waits for the server and no line is lost or doubled when the server is replaced.
//!
//! A segment `log.N` holds the lines from number N on, one per text line: microseconds since 1970, `o` (output) or `p`
//! (platform), the text. There are at most two; when the newer is full the older goes, taken or not. The reader's number
//! is in `acknowledged`, written once the lines that were handed on are kept.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

const SEGMENT_BYTES: u64 = 1 << 20;
const ACKNOWLEDGED: &str = "acknowledged";

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) at: Timestamp,
    /// Whether the platform says it, not the app.
    pub(super) platform: bool,
    pub(super) text: String,
}

/// The shim's end.
pub(super) struct Writer {
    dir: PathBuf,
    segment: File,
    bytes: u64,
    next: u64,
}

impl Writer {
    /// Goes on where an earlier shim ended; a line that it had not finished is dropped.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let first = segments(dir)?.last().copied().unwrap_or(0);
        let path = segment_path(dir, first);
        let text = fs::read(&path).unwrap_or_default();
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let lines = text[..whole].iter().filter(|byte| **byte == b'\n').count() as u64;
        let segment = File::options().append(true).create(true).open(path)?;
        segment.set_len(whole as u64)?;
        Ok(Self { dir: dir.to_owned(), segment, bytes: whole as u64, next: first + lines })
    }

    /// Adds lines, in one write where they fit.
    pub(super) fn append<'a>(&mut self, platform: bool, texts: impl IntoIterator<Item = &'a [u8]>) -> io::Result<()> {
        let now = Timestamp::now().as_microsecond();
        let mark = if platform { 'p' } else { 'o' };
        let mut batch = Vec::new();
        for text in texts {
            // Nothing that was lossy here could be told apart later, and a stray line end would shift all numbers.
            let text = String::from_utf8_lossy(text).replace(['\n', '\r'], " ");
            writeln!(batch, "{now} {mark} {text}")?;
            self.next += 1;
            if self.bytes + batch.len() as u64 >= SEGMENT_BYTES {
                self.flush(&mut batch)?;
                self.turn()?;
            }
        }
        self.flush(&mut batch)
    }

    fn flush(&mut self, batch: &mut Vec<u8>) -> io::Result<()> {
        self.segment.write_all(batch)?;
        self.bytes += batch.len() as u64;
        batch.clear();
        Ok(())
    }

    fn turn(&mut self) -> io::Result<()> {
        self.segment = File::options().append(true).create(true).open(segment_path(&self.dir, self.next))?;
        self.bytes = 0;
        let all = segments(&self.dir)?;
        for first in all.iter().rev().skip(2) {
            fs::remove_file(segment_path(&self.dir, *first))?;
        }
        Ok(())
    }
}

/// The server's end. There is one at a time.
pub(super) struct Reader {
    dir: PathBuf,
    acknowledged: Arc<File>,
    /// The number of the first line not yet handed on.
    next: u64,
    segment: Option<BufReader<File>>,
    /// The number of the first line of `segment`, and of the line that it stands before.
    first: u64,
    at: u64,
}

/// Lines in order, and how many went before them that nobody took in time.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) dropped: u64,
    pub(super) lines: Vec<Line>,
}

impl Reader {
    /// Goes on after the last line acknowledged.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let path = dir.join(ACKNOWLEDGED);
        let next = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let acknowledged = File::options().write(true).create(true).truncate(false).open(path)?;
        Ok(Self { dir: dir.to_owned(), acknowledged: Arc::new(acknowledged), next, segment: None, first: 0, at: 0 })
    }

    /// Up to `most` lines from the first unacknowledged on; fewer only where the output ends or has a gap. Reads the
    /// page cache.
    pub(super) fn read(&mut self, most: usize) -> io::Result<Batch> {
        let mut batch = Batch::default();
        if self.segment.is_none() || self.at != self.next {
            batch.dropped = self.seek()?;
        }
        while batch.lines.len() < most {
            if let Some(line) = self.line()? {
                self.at += 1;
                batch.lines.push(line);
            } else if self.first != self.at && segment_path(&self.dir, self.at).exists() {
                self.begin(self.at)?;
            } else if batch.lines.is_empty() && segments(&self.dir)?.first().is_some_and(|first| *first > self.at) {
                batch.dropped += self.seek()?;
            } else {
                break;
            }
        }
        Ok(batch)
    }

    /// The lines of `batch` were handed on: this reader does not read them again, and no other will after what comes
    /// back has been done.
    pub(super) fn pass(&mut self, batch: &Batch) -> impl FnOnce() -> io::Result<()> + Send + use<> {
        self.next += batch.dropped + batch.lines.len() as u64;
        let (acknowledged, next) = (self.acknowledged.clone(), self.next);
        // Twenty digits: one write, never shorter than the one before.
        move || acknowledged.write_all_at(format!("{next:020}").as_bytes(), 0)
    }

    /// Opens the segment that holds the next line, or the oldest; the answer is how many lines are gone.
    fn seek(&mut self) -> io::Result<u64> {
        self.segment = None;
        let all = segments(&self.dir)?;
        let Some(first) = all.iter().rev().find(|first| **first <= self.next).or(all.first()) else { return Ok(0) };
        self.begin(*first)?;
        while self.at < self.next && self.line()?.is_some() {
            self.at += 1;
        }
        Ok(self.at.saturating_sub(self.next))
    }

    fn begin(&mut self, first: u64) -> io::Result<()> {
        self.segment = match File::open(segment_path(&self.dir, first)) {
            Ok(file) => Some(BufReader::new(file)),
            // The shim was quicker: look again.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        (self.first, self.at) = (first, first);
        Ok(())
    }

    /// The next whole line of the open segment.
    fn line(&mut self) -> io::Result<Option<Line>> {
        let Some(segment) = &mut self.segment else { return Ok(None) };
        let mut text = Vec::new();
        let read = segment.read_until(b'\n', &mut text)?;
        if text.pop() != Some(b'\n') {
            segment.seek_relative(-(read as i64))?;
            return Ok(None);
        }
        Ok(Some(parse(&String::from_utf8_lossy(&text))))
    }
}

fn parse(line: &str) -> Line {
    let mut fields = line.splitn(3, ' ');
    let micros = fields.next().and_then(|field| field.parse().ok()).unwrap_or(0);
    let platform = fields.next() == Some("p");
    let at = Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH);
    Line { at, platform, text: fields.next().unwrap_or_default().to_owned() }
}

fn segment_path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("log.{first}"))
}

/// The first numbers of all segments, in order.
fn segments(dir: &Path) -> io::Result<Vec<u64>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        all.extend(name.to_str().and_then(|name| name.strip_prefix("log.")?.parse::<u64>().ok()));
    }
    all.sort_unstable();
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(batch: &Batch) -> Vec<&str> {
        batch.lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn lines_come_once_over_new_readers_and_writers() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(dir.path()).unwrap();
        writer.append(false, [b"one".as_slice(), b"two"]).unwrap();
        let mut reader = Reader::open(dir.path()).unwrap();
        let batch = reader.read(1).unwrap();
        assert_eq!((batch.dropped, texts(&batch)), (0, vec!["one"]));
        assert_eq!(texts(&reader.read(9).unwrap()), ["one", "two"], "not acknowledged, so read again");
        let batch = reader.read(1).unwrap();
        reader.pass(&batch)().unwrap();

        fs::write(
            dir.path().join("log.0"),
            [fs::read(dir.path().join("log.0")).unwrap(), b"12 o half".to_vec()].concat(),
        )
        .unwrap();
        let mut reader = Reader::open(dir.path()).unwrap();
        assert_eq!(texts(&reader.read(9).unwrap()), ["two"], "the unfinished line is not there yet");
        let mut writer = Writer::open(dir.path()).unwrap();
        writer.append(true, [b"three\nfour \xff".as_slice()]).unwrap();
        let batch = reader.read(9).unwrap();
        assert_eq!(texts(&batch), ["two", "three four \u{fffd}"]);
        assert!(batch.lines[1].platform && !batch.lines[0].platform);
        reader.pass(&batch)().unwrap();
        assert_eq!(reader.read(9).unwrap(), Batch::default());
        writer.append(false, [b"five".as_slice()]).unwrap();
        assert_eq!(texts(&reader.read(9).unwrap()), ["five"], "a reader at the end sees what comes");
    }

    #[test]
    fn the_oldest_goes_and_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(dir.path()).unwrap();
        let mut reader = Reader::open(dir.path()).unwrap();
        let long = "x".repeat(10_000);
        let mut written = 0_u64;
        let mut write = |count: usize| {
            for _ in 0..count {
                writer.append(false, [format!("{written} {long}").as_bytes()]).unwrap();
                written += 1;
            }
            written
        };
        write(3);
        let first = reader.read(2).unwrap();
        reader.pass(&first)().unwrap();
        let all = write(1000);
        let on_disk: u64 = segments(dir.path()).unwrap().len() as u64;
        assert!(on_disk <= 2, "{on_disk} segments");

        let (mut expected, mut dropped) = (2, 0);
        loop {
            let batch = reader.read(7).unwrap();
            if batch == Batch::default() {
                break;
            }
            expected += batch.dropped;
            dropped += batch.dropped;
            for line in &batch.lines {
                assert!(line.text.starts_with(&format!("{expected} ")), "line {expected} is {:.20}", line.text);
                expected += 1;
            }
            reader.pass(&batch)().unwrap();
        }
        assert_eq!(expected, all);
        assert!(dropped > 500, "{dropped}");
    }
}
