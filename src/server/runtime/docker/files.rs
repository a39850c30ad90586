//! What goes into a container before it starts, as one archive for its root: the platform's scripts, what the instance is
//! told in files, and the slug. The slug is the app's own, everything else is root's: nobody inside is root.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use flate2::read::GzDecoder;
use futures_util::Stream;
use tar::{Archive, Builder, EntryType, Header};
use tokio::task::JoinHandle;
use tokio_util::io::{ReaderStream, SyncIoBridge};

use super::spec::{APP_FOLDER, Inside, PLATFORM, UID};
use crate::server::runtime::spec;

const SCRIPTS: [(&str, &str); 3] = [
    ("init", include_str!("../../../../config/init")),
    ("entrypoint", include_str!("../../../../config/entrypoint")),
    ("session", include_str!("../../../../config/session")),
];
const ROOT: u64 = 0;
/// Of the archive on its way to Docker, in memory.
const BUFFER: usize = 256 * 1024;

/// A file beside the slug.
struct Beside {
    path: PathBuf,
    text: String,
    mode: u32,
    owner: u64,
}

/// The archive. Whether the slug was whole is known when the task has ended: Docker takes a broken one without a word.
pub(super) fn archive(
    slug: PathBuf,
    inside: &Inside,
) -> (impl Stream<Item = io::Result<Bytes>> + use<>, JoinHandle<io::Result<()>>) {
    let beside = beside(inside);
    let (reader, writer) = tokio::io::duplex(BUFFER);
    let writer = SyncIoBridge::new(writer);
    let task = tokio::task::spawn_blocking(move || write(&beside, &slug, writer));
    (ReaderStream::with_capacity(reader, 64 * 1024), task)
}

fn beside(inside: &Inside) -> Vec<Beside> {
    let at = |folder: &str, name: &str| Path::new(folder.trim_start_matches('/')).join(name);
    let platform = SCRIPTS.into_iter().chain(spec::TOOLS).map(|(name, text)| Beside {
        path: at(PLATFORM, name),
        text: text.to_owned(),
        mode: 0o755,
        owner: ROOT,
    });
    let told = inside.folders().into_iter().flat_map(|(folder, files)| {
        let file = move |(name, text): (&str, &str)| Beside {
            path: at(folder, name),
            text: text.to_owned(),
            mode: 0o400,
            owner: UID,
        };
        files.into_iter().map(file).collect::<Vec<_>>()
    });
    platform.chain(told).collect()
}

fn write(beside: &[Beside], slug: &Path, to: impl Write) -> io::Result<()> {
    let mut archive = Builder::new(to);
    // Folders at the top are the image's own, and may be links.
    let folders = beside.iter().flat_map(|file| file.path.ancestors().skip(1));
    let folders: BTreeSet<&Path> = folders.filter(|folder| folder.components().count() > 1).collect();
    for folder in folders {
        archive.append_data(&mut header(EntryType::Directory, 0o755, ROOT), folder, io::empty())?;
    }
    for Beside { path, text, mode, owner } in beside {
        let mut file = header(EntryType::Regular, *mode, *owner);
        file.set_size(text.len() as u64);
        archive.append_data(&mut file, path, text.as_bytes())?;
    }
    append_slug(slug, &mut archive)?;
    archive.into_inner()?.flush()
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

/// Everything in it becomes the app's, below its folder, and nothing has set-id bits.
fn append_slug<W: Write>(slug: &Path, to: &mut Builder<W>) -> io::Result<()> {
    let mut archive = Archive::new(GzDecoder::new(BufReader::with_capacity(64 * 1024, File::open(slug)?)));
    let app = Path::new(APP_FOLDER.trim_start_matches('/'));
    to.append_data(&mut header(EntryType::Directory, 0o755, UID), app, io::empty())?;
    for entry in archive.entries()? {
        let mut entry = entry?;
        let (mut header, path) = (entry.header().clone(), app.join(within(&entry.path()?)?));
        header.set_uid(UID);
        header.set_gid(UID);
        header.set_mode(header.mode()? & 0o1755);
        let target = entry.link_name()?.map(|name| name.into_owned());
        match target {
            // A second name of a file before it, by its path in the archive.
            Some(target) if header.entry_type() == EntryType::Link => {
                to.append_link(&mut header, path, app.join(within(&target)?))?;
            }
            Some(target) => to.append_link(&mut header, path, target)?,
            None => to.append_data(&mut header, path, &mut entry)?,
        }
    }
    Ok(())
}

/// A path that leads out of the slug would lead into the platform's files.
fn within(path: &Path) -> io::Result<PathBuf> {
    let part = |component| match component {
        Component::Normal(name) => Some(Some(name)),
        Component::CurDir => Some(None),
        _ => None,
    };
    let parts: Option<Vec<_>> = path.components().map(part).collect();
    let outside = || io::Error::new(io::ErrorKind::InvalidData, format!("{} is not within the slug", path.display()));
    Ok(parts.ok_or_else(outside)?.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leads_out_of_the_slug() {
        assert_eq!(within(Path::new("./bin/x")).unwrap(), Path::new("bin/x"));
        for path in ["/etc/passwd", "bin/../x", "../opt/gigalixir/init", ".."] {
            assert!(within(Path::new(path)).is_err(), "{path}");
        }
    }
}
