//! Built apps, kept by the SHA-256 of their archive: what has a digest never changes, so a release can be run again
//! years later and two equal builds are stored once.
//!
//! Invariants: an archive is whole and durable before [`Slugs::put`] returns; what [`Slugs::local_path`] hands out has
//! been checked against its digest; [`Slugs::sweep`] never takes what is in `keep`, nor what was put within the grace
//! time, so a push that has stored its slug but not yet recorded its release is safe.
//!
//! Not here: which slugs are still needed (the releases know), and unpacking (the runtimes do it).

mod bucket;
mod cache;
mod folder;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::RwLock;
use url::Url;

pub use bucket::BucketConfig;

use self::bucket::Bucket;
use self::cache::Cache;
use self::folder::Folder;
use super::domain::SlugDigest;
use super::signing::Signer;

/// Where slugs are kept.
#[derive(Debug, Clone)]
pub struct SlugsConfig {
    /// A folder of ours: the slugs themselves, or copies of them when there is a bucket.
    pub folder: PathBuf,
    /// An S3-compatible store that holds the slugs; `None` keeps them in `folder`.
    pub bucket: Option<BucketConfig>,
    /// Bytes that copies of a bucket's slugs may take on this disk.
    pub cache_bytes: u64,
    /// How long a slug is safe from [`Slugs::sweep`] after it was put; longer than any deploy takes.
    pub grace: Duration,
}

impl SlugsConfig {
    /// Slugs in `folder`, no bucket.
    pub fn on_disk(folder: PathBuf) -> Self {
        Self { folder, bucket: None, cache_bytes: 4_000_000_000, grace: Duration::from_secs(24 * 3600) }
    }
}

/// Why the slug store refused.
#[derive(Debug, thiserror::Error)]
pub enum SlugsError {
    /// Nothing of that digest is stored.
    #[error("slug {0} is missing")]
    Missing(SlugDigest),
    /// The archive is not what its digest says.
    #[error("slug {expected} is damaged: its archive has the digest {found}")]
    Damaged {
        /// What was asked for.
        expected: SlugDigest,
        /// What is there.
        found: String,
    },
    /// The disk's refusal.
    #[error("{context}")]
    Io {
        /// What was being done, lower case.
        context: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The bucket's refusal.
    #[error("{context}")]
    Bucket {
        /// What was being done, lower case.
        context: &'static str,
        /// Why it failed.
        #[source]
        source: object_store::Error,
    },
}

impl SlugsError {
    fn io(context: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let context = context.into();
        move |source| Self::Io { context, source }
    }
}

/// The slug store.
#[derive(Debug)]
pub struct Slugs {
    place: Place,
    signer: Signer,
    grace: Duration,
    /// Puts share it, a sweep has it alone: no sweep deletes what a put has just found to be there already.
    gate: RwLock<()>,
}

#[derive(Debug)]
enum Place {
    Disk(Folder),
    Bucket(Box<(Bucket, Cache)>),
}

impl Slugs {
    /// Makes the folders and, with a bucket, the client for it (nothing is asked of the bucket yet). `key` signs
    /// URLs and is used for nothing else.
    pub fn open(config: &SlugsConfig, key: &[u8; 32]) -> Result<Self, SlugsError> {
        let folder = Folder::open(&config.folder).map_err(SlugsError::io("could not open the slugs' folder"))?;
        let place = match &config.bucket {
            None => Place::Disk(folder),
            Some(bucket) => Place::Bucket(Box::new((Bucket::new(bucket)?, Cache::new(folder, config.cache_bytes)))),
        };
        Ok(Self { place, signer: Signer::new(key), grace: config.grace, gate: RwLock::default() })
    }

    /// Takes the archive (it is moved away or deleted) and returns when it is durable. A slug that is already there
    /// counts as new for the grace time.
    pub async fn put(&self, digest: &SlugDigest, archive: &Path) -> Result<(), SlugsError> {
        let _not_while_sweeping = self.gate.read().await;
        match &self.place {
            Place::Disk(folder) => folder.adopt(digest, archive).await,
            Place::Bucket(both) => {
                let (bucket, cache) = &**both;
                folder::check(digest, archive).await?;
                bucket.upload(digest, archive).await?;
                cache.adopt(digest, archive).await
            }
        }
    }

    /// A file on this disk with the slug's archive; a bucket's is downloaded first. It stays for as long as starting
    /// an instance takes, not for ever: ask again rather than remember it.
    pub async fn local_path(&self, digest: &SlugDigest) -> Result<PathBuf, SlugsError> {
        match &self.place {
            Place::Disk(folder) => folder.existing(digest).await,
            Place::Bucket(both) => both.1.get(digest, &both.0).await,
        }
    }

    /// A URL below `base` from which anybody who knows it can fetch the slug until `ttl` has passed.
    pub fn signed_url(&self, base: &Url, digest: &SlugDigest, ttl: Duration) -> Url {
        self.signer.url(base, &format!("slugs/{digest}.tar.gz"), digest.as_str(), ttl)
    }

    /// Whether `signature` is ours for this slug and has not expired. `expires` is in seconds since 1970.
    pub fn verify(&self, digest: &SlugDigest, expires: u64, signature: &str) -> bool {
        self.signer.verify(digest.as_str(), expires, signature)
    }

    /// Deletes the slugs that are neither in `keep` nor within the grace time; says how many.
    pub async fn sweep(&self, keep: &HashSet<SlugDigest>) -> Result<usize, SlugsError> {
        let _alone = self.gate.write().await;
        match &self.place {
            Place::Disk(folder) => folder.sweep(keep.clone(), self.grace).await,
            Place::Bucket(both) => {
                let (bucket, cache) = &**both;
                let swept = bucket.sweep(keep, self.grace).await?;
                for digest in &swept {
                    cache.forget(digest).await?;
                }
                Ok(swept.len())
            }
        }
    }
}

#[cfg(test)]
mod tests;
