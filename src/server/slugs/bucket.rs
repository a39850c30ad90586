//! Slugs in an S3-compatible store: `PREFIX/ab/abcdef….tar.gz` in one bucket, path-style.
//!
//! Uploads are streamed in parts. One that is cut off by a crash leaves parts behind that no listing shows: give the
//! bucket a lifecycle rule for incomplete uploads.

use std::collections::HashSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::buffered::BufWriter;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt, path::Path as Key};
use secrecy::{ExposeSecret, SecretString};
use tokio::io::AsyncWriteExt;
use url::Url;

use super::SlugsError;
use super::folder::older_than;
use crate::server::domain::SlugDigest;

/// S3's smallest part; with two under way an upload holds about three times this in memory.
const PART: usize = 5 * 1024 * 1024;
const PARTS_UNDER_WAY: usize = 2;
/// A store that sends or takes nothing for this long is given up.
const SILENCE: Duration = Duration::from_secs(30);

/// How to reach a bucket.
#[derive(Debug, Clone)]
pub struct BucketConfig {
    /// The store's address, `https://s3.example.com`.
    pub endpoint: Url,
    /// The bucket's name; the bucket must exist.
    pub bucket: String,
    /// The region that requests are signed for; most stores accept `us-east-1`.
    pub region: String,
    /// The access key's name.
    pub access_key_id: String,
    /// The access key's secret.
    pub secret_access_key: SecretString,
    /// In front of every key; may be empty.
    pub prefix: String,
}

/// One bucket.
pub(super) struct Bucket {
    store: Arc<AmazonS3>,
    prefix: Key,
}

impl Bucket {
    pub(super) fn new(config: &BucketConfig) -> Result<Self, SlugsError> {
        // An endpoint without TLS is the operator's word, who was warned of it at start.
        let plain = config.endpoint.scheme() == "http";
        let store = AmazonS3Builder::new()
            .with_endpoint(config.endpoint.as_str().trim_end_matches('/'))
            .with_bucket_name(&config.bucket)
            .with_region(&config.region)
            .with_access_key_id(&config.access_key_id)
            .with_secret_access_key(config.secret_access_key.expose_secret())
            .with_virtual_hosted_style_request(false)
            // A time limit for whole requests would cut off large slugs on slow lines; silence is what is limited.
            .with_client_options(
                ClientOptions::new().with_timeout_disabled().with_read_timeout(SILENCE).with_allow_http(plain),
            )
            .build()
            .map_err(failed("could not use the slug store's settings"))?;
        Ok(Self { store: Arc::new(store), prefix: Key::from(config.prefix.as_str()) })
    }

    /// Stores an archive. What is there already is written again: the same bytes, and new for the grace time.
    pub(super) async fn upload(&self, digest: &SlugDigest, archive: &Path) -> Result<(), SlugsError> {
        let unreadable = SlugsError::io(format!("could not read the archive of slug {digest}"));
        let mut file = tokio::fs::File::open(archive).await.map_err(unreadable)?;
        let mut writer =
            BufWriter::with_capacity(self.store.clone(), self.key(digest), PART).with_max_concurrency(PARTS_UNDER_WAY);
        let sent = match tokio::io::copy(&mut file, &mut writer).await {
            Ok(_) => writer.shutdown().await,
            Err(error) => Err(error),
        };
        if sent.is_err() {
            // The reason why it failed is worth more than the reason why the rest could not be cleared.
            let _ = writer.abort().await;
        }
        sent.map_err(SlugsError::io(format!("could not upload slug {digest}")))
    }

    /// The archive's bytes, not yet checked.
    pub(super) async fn download(
        &self,
        digest: &SlugDigest,
    ) -> Result<BoxStream<'static, object_store::Result<bytes::Bytes>>, SlugsError> {
        match self.store.get(&self.key(digest)).await {
            Ok(found) => Ok(found.into_stream()),
            Err(object_store::Error::NotFound { .. }) => Err(SlugsError::Missing(digest.clone())),
            Err(error) => Err(failed("could not download a slug")(error)),
        }
    }

    /// Deletes what is neither kept nor young; says what it was. Objects that are not slugs are left alone.
    pub(super) async fn sweep(
        &self,
        keep: &HashSet<SlugDigest>,
        grace: Duration,
    ) -> Result<Vec<SlugDigest>, SlugsError> {
        let mut listing = self.store.list(Some(&self.prefix));
        let mut swept = Vec::new();
        while let Some(object) = listing.try_next().await.map_err(failed("could not list the slug store"))? {
            let name = object.location.filename().and_then(|name| name.strip_suffix(".tar.gz"));
            let Some(Ok(digest)) = name.map(SlugDigest::parse) else { continue };
            if keep.contains(&digest) || !older_than(SystemTime::from(object.last_modified), grace) {
                continue;
            }
            self.store.delete(&object.location).await.map_err(failed("could not delete a slug"))?;
            swept.push(digest);
        }
        Ok(swept)
    }

    fn key(&self, digest: &SlugDigest) -> Key {
        self.prefix.clone().join(&digest.as_str()[..2]).join(format!("{digest}.tar.gz"))
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bucket({})", self.store)
    }
}

fn failed(context: &'static str) -> impl FnOnce(object_store::Error) -> SlugsError {
    move |source| SlugsError::Bucket { context, source }
}
