//! One app's files: numbered segments, the oldest deleted when all together pass the limit. No file stays open.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

/// Of how many segments a full ring is made.
const SEGMENTS: u64 = 8;

/// One app's ring.
#[derive(Debug)]
pub(super) struct Ring {
    folder: PathBuf,
    limit: u64,
    /// Oldest first: number and length.
    segments: VecDeque<(u64, u64)>,
}

/// Where in a log a line begins, or where the next one will. Good for as long as the log exists, over restarts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Which segment.
    pub segment: u64,
    /// Bytes from its beginning.
    pub place: u64,
}

/// A ring as it was: its files, held open, and how much of each counts.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    /// Oldest first: number, file, length.
    pub(super) files: Vec<(u64, File, u64)>,
}

impl Snapshot {
    /// Where the next line will begin.
    pub(super) fn end(&self) -> Position {
        self.files
            .last()
            .map_or(Position::default(), |(segment, _, place)| Position { segment: *segment, place: *place })
    }
}

impl Ring {
    /// Finds what an earlier server left, and cuts off a last line that it did not finish.
    pub(super) fn load(folder: PathBuf, limit: u64) -> io::Result<Self> {
        let mut segments = Vec::new();
        let listing = match fs::read_dir(&folder) {
            Ok(listing) => Some(listing),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        for file in listing.into_iter().flatten() {
            let file = file?;
            let number = file.file_name().to_str().and_then(|name| name.strip_suffix(".log")?.parse().ok());
            if let Some(number) = number {
                segments.push((number, file.metadata()?.len()));
            }
        }
        segments.sort_unstable();
        let mut ring = Self { folder, limit, segments: segments.into() };
        ring.mend()?;
        Ok(ring)
    }

    /// Appends whole lines (each with its end), beginning new segments and deleting old ones as needed.
    pub(super) fn append(&mut self, lines: &str) -> io::Result<()> {
        let mut rest = lines.as_bytes();
        while !rest.is_empty() {
            let (number, length) = self.current()?;
            let room = usize::try_from((self.limit / SEGMENTS).saturating_sub(length)).unwrap_or(usize::MAX);
            let (now, later) = rest.split_at(whole_lines_within(rest, room));
            let mut file = OpenOptions::new().create(true).append(true).open(self.path(number))?;
            if let Err(error) = file.write_all(now) {
                // Whatever part of it was written would tear the next line.
                let _ = file.set_len(length);
                return Err(error);
            }
            if let Some(newest) = self.segments.back_mut() {
                newest.1 += now.len() as u64;
            }
            rest = later;
        }
        self.trim()
    }

    /// Where the next line will begin.
    pub(super) fn end(&self) -> Position {
        let newest = self.segments.back().copied();
        newest.map_or(Position::default(), |(segment, place)| Position { segment, place })
    }

    pub(super) fn snapshot(&self) -> io::Result<Snapshot> {
        let open = |(number, length): &(u64, u64)| Ok((*number, File::open(self.path(*number))?, *length));
        Ok(Snapshot { files: self.segments.iter().map(open).collect::<io::Result<_>>()? })
    }

    /// The segment to write to: the newest, or a new one when that is full.
    fn current(&mut self) -> io::Result<(u64, u64)> {
        match self.segments.back() {
            Some((number, length)) if *length < self.limit / SEGMENTS => Ok((*number, *length)),
            newest => {
                let number = newest.map_or(1, |(number, _)| number + 1);
                fs::create_dir_all(&self.folder)?;
                self.segments.push_back((number, 0));
                Ok((number, 0))
            }
        }
    }

    fn trim(&mut self) -> io::Result<()> {
        let mut bytes: u64 = self.segments.iter().map(|(_, length)| length).sum();
        while bytes > self.limit && self.segments.len() > 1 {
            let Some((number, length)) = self.segments.pop_front() else { break };
            bytes -= length;
            fs::remove_file(self.path(number))?;
        }
        Ok(())
    }

    fn mend(&mut self) -> io::Result<()> {
        let Some((number, length)) = self.segments.back().copied() else { return Ok(()) };
        let mut file = OpenOptions::new().read(true).write(true).open(self.path(number))?;
        let from = length.saturating_sub(self.limit / SEGMENTS);
        file.seek(SeekFrom::Start(from))?;
        let mut end = Vec::new();
        file.take(length - from).read_to_end(&mut end)?;
        let torn = end.iter().rev().take_while(|byte| **byte != b'\n').count() as u64;
        if torn > 0 {
            OpenOptions::new().write(true).open(self.path(number))?.set_len(length - torn)?;
            if let Some(newest) = self.segments.back_mut() {
                newest.1 = length - torn;
            }
        }
        Ok(())
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:08}.log"))
    }
}

/// How many bytes of `lines` to put where there is `room`: whole lines, and at least one.
fn whole_lines_within(lines: &[u8], room: usize) -> usize {
    if lines.len() <= room {
        return lines.len();
    }
    let fitting = lines[..room].iter().rposition(|byte| *byte == b'\n');
    let first = || lines.iter().position(|byte| *byte == b'\n');
    fitting.or_else(first).map_or(lines.len(), |end| end + 1)
}
