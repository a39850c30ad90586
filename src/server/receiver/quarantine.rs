//! Where a push's objects lie until something needs them for good: a bare repository of its own inside the real one,
//! which sees the real one's objects but is not seen by it. Dropping it removes it.

use std::fs;
use std::io::{BufRead, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

use gix::hash::Kind;
use gix_pack::bundle::write::Options;
use gix_pack::index;

use super::error::{ReceiverError, reasons};
use super::{repository, sync_folder};

/// See the module.
#[derive(Debug)]
pub(super) struct Quarantine {
    folder: tempfile::TempDir,
    /// The real repository.
    repository: PathBuf,
    /// The pack's path without extension, while it is here.
    pack: Mutex<Option<PathBuf>>,
}

impl Quarantine {
    /// An empty one for the repository at `path`.
    pub(super) fn new(path: &Path) -> Result<Self, ReceiverError> {
        let context = || ReceiverError::io("cannot make a quarantine");
        let objects = path.join("objects");
        let folder = tempfile::Builder::new().prefix(repository::INCOMING).tempdir_in(&objects).map_err(context())?;
        repository::lay_out(folder.path()).map_err(context())?;
        let real = objects.canonicalize().map_err(context())?;
        fs::write(folder.path().join("objects/info/alternates"), format!("{}\n", real.display())).map_err(context())?;
        Ok(Self { folder, repository: path.to_owned(), pack: Mutex::default() })
    }

    /// Reads one pack, completes it if it is thin, and indexes it. The error is for the pusher.
    pub(super) fn receive(
        &self,
        pack: &mut dyn BufRead,
        object_bytes: usize,
        interrupt: &AtomicBool,
    ) -> Result<(), String> {
        let told = |error: gix::Error| match error.is_resource_exhausted() {
            true => format!("an object is larger than the limit of {object_bytes} bytes"),
            false => reasons(&error),
        };
        let known = repository::open(&self.repository).map_err(|error| error.to_string())?;
        let is_first = known.references().and_then(|refs| Ok(refs.all()?.next().is_none())).unwrap_or(false);
        let options = Options { alloc_limit_bytes: Some(object_bytes), ..Options::default() };
        let written = gix_pack::Bundle::write_to_directory(
            pack,
            Some(&self.folder.path().join("objects/pack")),
            &mut gix::progress::Discard,
            interrupt,
            // Without a repository to complete it from, a pack goes to the disk as it comes.
            (!is_first).then_some(known.objects),
            Kind::Sha1,
            options,
        )
        .map_err(told)?;
        if let Some(keep) = written.keep_path {
            fs::remove_file(keep).map_err(|error| error.to_string())?;
        }
        if let Some(path) = written.data_path {
            ends_with_its_checksum(&path, written.index.data_hash).map_err(|error| error.to_string())?;
            *self.pack.lock().unwrap_or_else(PoisonError::into_inner) = Some(path.with_extension(""));
        }
        Ok(())
    }

    /// The real repository's folder.
    pub(super) fn home(&self) -> &Path {
        &self.repository
    }

    /// A handle that sees the new objects and the repository's.
    pub(super) fn repository(&self) -> Result<gix::Repository, ReceiverError> {
        repository::open(self.folder.path())
    }

    /// The index of the received pack, unless none was or it has been promoted.
    pub(super) fn index(&self) -> Result<Option<index::File>, ReceiverError> {
        let pack = self.pack.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(pack.as_ref().map(|path| index::File::at(path.with_extension("idx"), Kind::Sha1)).transpose()?)
    }

    /// Makes the objects the repository's, durably. Idempotent. Returns the pack's new path without extension.
    pub(super) fn promote(&self) -> Result<Option<PathBuf>, ReceiverError> {
        let context = || ReceiverError::io("cannot move a pack out of its quarantine");
        let mut pack = self.pack.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(path) = pack.as_ref() else { return Ok(None) };
        let home = self.repository.join("objects/pack");
        let target = home.join(path.file_name().unwrap_or_default());
        // A pack is seen by its index, so the index goes last.
        for extension in ["pack", "idx"] {
            let file = path.with_extension(extension);
            fs::File::open(&file).and_then(|file| file.sync_all()).map_err(context())?;
            fs::rename(&file, target.with_extension(extension)).map_err(context())?;
        }
        sync_folder(&home).map_err(context())?;
        *pack = None;
        Ok(Some(target))
    }
}

/// A pack that goes to the disk as it comes takes along what follows it; such a file would not be a pack.
fn ends_with_its_checksum(path: &Path, checksum: gix::ObjectId) -> std::io::Result<()> {
    let mut file = fs::File::open(path)?;
    let mut last = [0; 20];
    file.seek(SeekFrom::End(-20))?;
    file.read_exact(&mut last)?;
    if last == checksum.as_bytes() { Ok(()) } else { Err(std::io::Error::other("something follows the pack")) }
}
