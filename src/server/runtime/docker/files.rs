//! What goes into a container before it starts: the platform's scripts, and the slug as the app's own files.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use flate2::read::GzDecoder;
use futures_util::Stream;
use tar::{Archive, Builder, EntryType, Header};
use tokio::task::JoinHandle;
use tokio_util::io::{ReaderStream, SyncIoBridge};

use super::spec::UID;

const SCRIPTS: &[(&str, &str)] =
    &[("init", include_str!("../../../../config/init")), ("entrypoint", include_str!("../../../../config/entrypoint"))];
/// Of the slug on its way to Docker, in memory.
const BUFFER: usize = 256 * 1024;

/// The platform's files and an empty `/app`, to be unpacked at `/`.
pub(super) fn platform() -> io::Result<Bytes> {
    let mut archive = Builder::new(Vec::new());
    let mut app = header(EntryType::Directory, 0o755, UID);
    archive.append_data(&mut app, "app/", io::empty())?;
    for (name, text) in SCRIPTS {
        let mut script = header(EntryType::Regular, 0o755, 0);
        script.set_size(text.len() as u64);
        archive.append_data(&mut script, Path::new("opt/gigalixir").join(name), text.as_bytes())?;
    }
    Ok(archive.into_inner()?.into())
}

fn header(kind: EntryType, mode: u32, owner: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(owner);
    header.set_gid(owner);
    header.set_size(0);
    header
}

/// The slug as a tar archive whose files are the app's, to be unpacked in `/app`. Whether it was whole is known when the
/// task has ended: Docker takes a broken one without a word.
pub(super) fn slug(path: PathBuf) -> (impl Stream<Item = io::Result<Bytes>>, JoinHandle<io::Result<()>>) {
    let (reader, writer) = tokio::io::duplex(BUFFER);
    let writer = SyncIoBridge::new(writer);
    let task = tokio::task::spawn_blocking(move || own(&path, writer));
    (ReaderStream::with_capacity(reader, 64 * 1024), task)
}

/// Rewrites an archive so that everything in it is the app's and nothing has set-id bits.
fn own(slug: &Path, to: impl Write) -> io::Result<()> {
    let mut archive = Archive::new(GzDecoder::new(BufReader::with_capacity(64 * 1024, File::open(slug)?)));
    let mut owned = Builder::new(to);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let (mut header, path) = (entry.header().clone(), entry.path()?.into_owned());
        header.set_uid(UID);
        header.set_gid(UID);
        header.set_mode(header.mode()? & 0o1755);
        match entry.link_name()?.map(|name| name.into_owned()) {
            Some(target) => owned.append_link(&mut header, path, target)?,
            None => owned.append_data(&mut header, path, &mut entry)?,
        }
    }
    let mut to = owned.into_inner()?;
    to.flush()
}
