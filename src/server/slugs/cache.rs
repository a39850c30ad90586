//! Copies of a bucket's slugs on this disk: bounded, the least recently used go first, checked when they come.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tokio::sync::Mutex;

use super::SlugsError;
use super::bucket::Bucket;
use super::folder::{Folder, blocking, older_than, touch};
use crate::server::domain::SlugDigest;

/// A copy used within this time is spared even if the cache is too large: somebody may be unpacking it.
const IN_USE: Duration = Duration::from_secs(600);

/// Bounded copies in a folder.
#[derive(Debug)]
pub(super) struct Cache {
    folder: Folder,
    bytes: u64,
    /// One download at a time per slug: replicas that start together wait for one copy. A digest's first digit
    /// picks its lane, which is cheaper to reason about than a table of downloads under way.
    lanes: [Mutex<()>; 16],
}

impl Cache {
    pub(super) fn new(folder: Folder, bytes: u64) -> Self {
        Self { folder, bytes, lanes: Default::default() }
    }

    /// The copy on this disk, downloaded if need be.
    pub(super) async fn get(&self, digest: &SlugDigest, bucket: &Bucket) -> Result<PathBuf, SlugsError> {
        if let Some(path) = self.hit(digest).await? {
            return Ok(path);
        }
        let _only_one = self.lanes[lane(digest)].lock().await;
        if let Some(path) = self.hit(digest).await? {
            return Ok(path);
        }
        self.download(digest, bucket).await?;
        self.trim().await?;
        Ok(self.folder.path(digest))
    }

    /// Keeps an archive that has just been uploaded.
    pub(super) async fn adopt(&self, digest: &SlugDigest, archive: &Path) -> Result<(), SlugsError> {
        self.folder.adopt(digest, archive).await?;
        self.trim().await
    }

    /// Drops a copy whose original is gone.
    pub(super) async fn forget(&self, digest: &SlugDigest) -> Result<(), SlugsError> {
        let (folder, digest) = (self.folder.clone(), digest.clone());
        blocking(move || folder.remove(&digest).map_err(SlugsError::io("could not delete a cached slug"))).await
    }

    async fn hit(&self, digest: &SlugDigest) -> Result<Option<PathBuf>, SlugsError> {
        let path = self.folder.path(digest);
        blocking(move || match touch(&path) {
            Ok(()) => Ok(Some(path)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(SlugsError::io("could not look into the slug cache")(error)),
        })
        .await
    }

    async fn download(&self, digest: &SlugDigest, bucket: &Bucket) -> Result<(), SlugsError> {
        let failed = || SlugsError::io(format!("could not write a copy of slug {digest}"));
        let (file, place) = self.folder.incoming().await?.into_parts();
        let mut file = tokio::fs::File::from_std(file);
        let mut body = bucket.download(digest).await?;
        let mut sha = Sha256::new();
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|source| SlugsError::Bucket { context: "could not download a slug", source })?;
            sha.update(&chunk);
            file.write_all(&chunk).await.map_err(failed())?;
        }
        file.flush().await.map_err(failed())?;
        let found = hex::encode(sha.finalize());
        if found != digest.as_str() {
            return Err(SlugsError::Damaged { expected: digest.clone(), found });
        }
        let (folder, digest) = (self.folder.clone(), digest.clone());
        blocking(move || folder.keep(place, &digest).map_err(SlugsError::io("could not keep a copy of a slug"))).await
    }

    async fn trim(&self) -> Result<(), SlugsError> {
        let (folder, allowed) = (self.folder.clone(), self.bytes);
        blocking(move || {
            let failed = || SlugsError::io("could not trim the slug cache");
            let mut entries = folder.list().map_err(failed())?;
            entries.sort_by_key(|entry| entry.modified);
            let mut bytes: u64 = entries.iter().map(|entry| entry.size).sum();
            for entry in entries {
                if bytes <= allowed || !older_than(entry.modified, IN_USE) {
                    break;
                }
                folder.remove(&entry.digest).map_err(failed())?;
                bytes -= entry.size;
            }
            Ok(())
        })
        .await
    }
}

fn lane(digest: &SlugDigest) -> usize {
    usize::from_str_radix(&digest.as_str()[..1], 16).unwrap_or(0)
}
