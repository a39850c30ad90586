//! Slugs as files: `ab/abcdef….tar.gz`, and `incoming/` for those that are not whole yet.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use tempfile::{NamedTempFile, TempPath};

use super::SlugsError;
use crate::server::domain::SlugDigest;

const SUFFIX: &str = ".tar.gz";

/// A folder of slugs. Cheap to clone: it is a path.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    root: PathBuf,
}

/// A stored file.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) digest: SlugDigest,
    pub(super) size: u64,
    pub(super) modified: SystemTime,
}

impl Folder {
    /// Makes the folder and clears away what an earlier server had not finished.
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        let incoming = root.join("incoming");
        if incoming.exists() {
            fs::remove_dir_all(&incoming)?;
        }
        fs::create_dir_all(&incoming)?;
        Ok(Self { root: root.to_owned() })
    }

    pub(super) fn path(&self, digest: &SlugDigest) -> PathBuf {
        self.root.join(&digest.as_str()[..2]).join(format!("{digest}{SUFFIX}"))
    }

    pub(super) async fn existing(&self, digest: &SlugDigest) -> Result<PathBuf, SlugsError> {
        let path = self.path(digest);
        match tokio::fs::try_exists(&path).await {
            Ok(true) => Ok(path),
            Ok(false) => Err(SlugsError::Missing(digest.clone())),
            Err(error) => Err(SlugsError::io(format!("could not look for slug {digest}"))(error)),
        }
    }

    /// Moves an archive in, or deletes it when a whole copy is there already.
    pub(super) async fn adopt(&self, digest: &SlugDigest, archive: &Path) -> Result<(), SlugsError> {
        let (folder, digest, archive) = (self.clone(), digest.clone(), archive.to_owned());
        blocking(move || {
            let failed = || SlugsError::io(format!("could not store slug {digest}"));
            if folder.renew(&digest).map_err(failed())? {
                return fs::remove_file(&archive).map_err(failed());
            }
            check_now(&digest, &archive)?;
            let whole = folder.bring_in(&archive).map_err(failed())?;
            folder.keep(whole, &digest).map_err(failed())
        })
        .await
    }

    /// A new file for a slug that is still coming; gone if it is dropped.
    pub(super) async fn incoming(&self) -> Result<NamedTempFile, SlugsError> {
        let folder = self.root.join("incoming");
        blocking(move || NamedTempFile::new_in(folder).map_err(SlugsError::io("could not make a file for a slug")))
            .await
    }

    /// Gives a whole file its name, durably: the file is synced before it is renamed, the folder after.
    pub(super) fn keep(&self, whole: TempPath, digest: &SlugDigest) -> io::Result<()> {
        let path = self.path(digest);
        let folder = self.root.join(&digest.as_str()[..2]);
        if !folder.exists() {
            fs::create_dir_all(&folder)?;
            File::open(&self.root)?.sync_all()?;
        }
        File::open(&whole)?.sync_all()?;
        whole.persist(&path).map_err(|refused| refused.error)?;
        File::open(&folder)?.sync_all()
    }

    /// Makes a stored slug count as new, so that sweeps spare it. False if it is not there, or not whole.
    fn renew(&self, digest: &SlugDigest) -> io::Result<bool> {
        let path = self.path(digest);
        match digest_of(&path) {
            Ok(found) if found == digest.as_str() => touch(&path).map(|()| true),
            Ok(_) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Renames the archive to `incoming/`, or copies it when it lies on another file system.
    fn bring_in(&self, archive: &Path) -> io::Result<TempPath> {
        let place = NamedTempFile::new_in(self.root.join("incoming"))?.into_temp_path();
        match fs::rename(archive, &place) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                fs::copy(archive, &place)?;
                fs::remove_file(archive)?;
            }
            other => other?,
        }
        Ok(place)
    }

    /// Everything that is stored.
    pub(super) fn list(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for shelf in fs::read_dir(&self.root)? {
            let shelf = shelf?;
            if shelf.file_name() == "incoming" || !shelf.file_type()?.is_dir() {
                continue;
            }
            for file in fs::read_dir(shelf.path())? {
                let file = file?;
                let name = file.file_name();
                let digest = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)).map(SlugDigest::parse);
                if let Some(Ok(digest)) = digest {
                    let about = file.metadata()?;
                    entries.push(Entry { digest, size: about.len(), modified: about.modified()? });
                }
            }
        }
        Ok(entries)
    }

    pub(super) async fn sweep(&self, keep: HashSet<SlugDigest>, grace: Duration) -> Result<usize, SlugsError> {
        let folder = self.clone();
        blocking(move || {
            let failed = || SlugsError::io("could not sweep the slugs' folder");
            let mut swept = 0;
            for entry in folder.list().map_err(failed())? {
                if !keep.contains(&entry.digest) && older_than(entry.modified, grace) {
                    folder.remove(&entry.digest).map_err(failed())?;
                    swept += 1;
                }
            }
            Ok(swept)
        })
        .await
    }

    /// Forgets a slug; one that is not there is no error.
    pub(super) fn remove(&self, digest: &SlugDigest) -> io::Result<()> {
        match fs::remove_file(self.path(digest)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Marks a file as used (or new) now.
pub(super) fn touch(path: &Path) -> io::Result<()> {
    File::open(path)?.set_modified(SystemTime::now())
}

/// A time in the future is not old: a clock that was set back must not cost a slug.
pub(super) fn older_than(time: SystemTime, age: Duration) -> bool {
    time.elapsed().is_ok_and(|elapsed| elapsed >= age)
}

/// Compares an archive with its digest.
pub(super) async fn check(digest: &SlugDigest, archive: &Path) -> Result<(), SlugsError> {
    let (digest, archive) = (digest.clone(), archive.to_owned());
    blocking(move || check_now(&digest, &archive)).await
}

fn check_now(digest: &SlugDigest, archive: &Path) -> Result<(), SlugsError> {
    let found = digest_of(archive).map_err(SlugsError::io(format!("could not read the archive of slug {digest}")))?;
    if found == digest.as_str() { Ok(()) } else { Err(SlugsError::Damaged { expected: digest.clone(), found }) }
}

fn digest_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut sha = Sha256::new();
    let mut chunk = vec![0; 128 * 1024];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hex::encode(sha.finalize())),
            n => sha.update(&chunk[..n]),
        }
    }
}

/// Runs disk work off the async threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SlugsError> + Send + 'static,
) -> Result<T, SlugsError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|gone| Err(SlugsError::io("the slug store is stopping")(io::Error::other(gone))))
}
