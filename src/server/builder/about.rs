//! What an archive says of a member before the member itself: names that are too long for its header. One that an app's code
//! has made, or a stranger, can go on about that until memory is full, or say a second size, which not every reader believes;
//! such an archive is refused before anybody reads it who takes it at its word.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use tar::{Entry, EntryType, Header, PaxExtensions};

/// Bytes of what is said at once; a path has 4096 at most.
const LONGEST: u64 = 64 << 10;

/// What has been said of the next member.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct About {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    records: Option<Vec<u8>>,
}

impl About {
    /// Takes what is said of the next member; `false` when the entry is a member itself. Entries come raw.
    pub(super) fn hear(&mut self, entry: &mut Entry<'_, impl Read>) -> io::Result<bool> {
        let header = entry.header();
        let known = header.as_gnu().is_some() || header.as_ustar().is_some();
        let place = match header.entry_type() {
            EntryType::GNULongName if known => &mut self.name,
            EntryType::GNULongLink if known => &mut self.link,
            EntryType::XHeader if known => &mut self.records,
            EntryType::GNUSparse => return Err(io::Error::other("a file in it has holes")),
            _ => return Ok(false),
        };
        let mut said = Vec::new();
        if entry.take(LONGEST + 1).read_to_end(&mut said)? as u64 > LONGEST {
            return Err(io::Error::other("a name in it is too long"));
        }
        if place.replace(said).is_some() {
            return Err(io::Error::other("a file in it has two names"));
        }
        let counts = |key: &[u8]| key == b"size" || key.starts_with(b"GNU.sparse.");
        if self.records().any(|(key, _)| counts(key)) {
            return Err(io::Error::other("a file in it has two sizes"));
        }
        Ok(true)
    }

    /// The name of the member with this header.
    pub(super) fn name(&self, header: &Header) -> PathBuf {
        let recorded = || self.records().find_map(|(key, value)| (key == b"path").then_some(value));
        let name = match &self.name {
            Some(name) => Some(name.strip_suffix(b"\0").unwrap_or(name)),
            None => recorded(),
        };
        OsStr::from_bytes(&name.map_or_else(|| header.path_bytes(), Cow::Borrowed)).into()
    }

    fn records(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let records = PaxExtensions::new(self.records.as_deref().unwrap_or_default());
        records.flatten().map(|record| (record.key_bytes(), record.value_bytes()))
    }
}
