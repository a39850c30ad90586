//! git push bytes → `Push`. A git server on gix's building blocks: receive-pack (protocol v0) and upload-pack
//! (protocol v2) over smart HTTP, one bare repository per app.
//!
//! Guaranteed: a ref moves only after its deploy succeeded; what a refused push sent is gone with its quarantine;
//! nothing as large as a push is held in memory; no process is started. Deliberately absent: protocols v0 and v1 for
//! fetching, shallow clones, hooks, reflogs.

mod advertise;
mod answer;
mod attributes;
mod body;
mod checkout;
mod connectivity;
mod decide;
mod error;
mod fetch;
mod intake;
mod interrupt;
mod ls_refs;
mod pack_writer;
mod places;
mod protocol;
mod push;
mod quarantine;
mod refs;
mod remote_tree;
mod repack;
mod report;
mod repository;
mod sideband;
mod submodules;
#[cfg(test)]
mod tests;
mod tree_rules;
mod upload_pack;
mod walk;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use tokio::sync::RwLock;
use url::Url;

pub use checkout::Checkout;
pub use error::{ReceiverError, Rejected};
pub use push::Visit;

use self::places::Places;

use super::domain::{AppName, Email, Push};
use super::progress::Progress;

/// What becomes of a push; implemented by the pipeline.
#[async_trait]
pub trait Deploys: Send + Sync + 'static {
    /// Builds and deploys. `Ok` moves the ref; `Err` is the one-line reason for git's `! [remote rejected]` line, the
    /// details having been told through `progress`. Ends soon after `progress.cancelled()` fires.
    async fn deploy(&self, push: Push, source: Checkout, progress: &Progress) -> Result<(), String>;
}

/// What a push, and what it makes the platform do, may cost.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Of one push's body, before and after decompression of the transfer, in bytes.
    pub pack_bytes: u64,
    /// Of one object; gix holds a whole object while it hashes it, in bytes.
    pub object_bytes: usize,
    /// Refs that one push may change.
    pub commands: usize,
    /// Packs read at the same time, over all apps; more wait.
    pub concurrent_packs: usize,
    /// Of these, pushed by one person.
    pub packs_of_one: usize,
    /// Fetches answered at the same time, each by a thread; more wait.
    pub concurrent_fetches: usize,
    /// Of these, asked for by one person.
    pub fetches_of_one: usize,
    /// How long who fetches may take nothing.
    pub standstill: Duration,
    /// Of a checked-out tree with its submodules, in bytes.
    pub tree_bytes: u64,
    /// Files of a checked-out tree with its submodules.
    pub tree_files: usize,
    /// Submodules over all levels.
    pub submodules: usize,
    /// Levels of submodules in submodules.
    pub submodule_depth: usize,
    /// For fetching one submodule.
    pub submodule_time: Duration,
    /// Packs of one repository, above which they are made one in the background.
    pub packs: usize,
    /// How long an unreachable object is kept at least.
    pub garbage_grace: Duration,
    /// What relative submodule URLs are relative to; `APP` is added. Without it they are refused.
    pub submodule_base: Option<Url>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pack_bytes: 1 << 30,
            object_bytes: 128 << 20,
            commands: 4096,
            concurrent_packs: 8,
            packs_of_one: 3,
            concurrent_fetches: 64,
            fetches_of_one: 8,
            standstill: Duration::from_secs(120),
            tree_bytes: 2 << 30,
            tree_files: 200_000,
            submodules: 64,
            submodule_depth: 5,
            submodule_time: Duration::from_secs(300),
            packs: 20,
            garbage_grace: Duration::from_secs(24 * 3600),
            submodule_base: None,
        }
    }
}

/// The bytes of an HTTP body, either way.
pub type ByteStream = BoxStream<'static, std::io::Result<Bytes>>;

/// Whether somebody still may do what they were let in for; the error is a sentence for them. Asked when their request
/// has come to its end, which can be long after it began: by then the app's name may be another's.
pub type Still = BoxFuture<'static, Result<(), String>>;

/// All repositories, and the order in which they may be worked on.
#[derive(Debug)]
pub struct Receiver {
    dir: PathBuf,
    limits: Limits,
    rooms: Mutex<HashMap<AppName, Arc<Room>>>,
    packs: Places,
    fetches: Arc<Places>,
}

/// One app's locks.
#[derive(Debug, Default)]
struct Room {
    /// Held by the push that is being decided, built and deployed.
    turn: tokio::sync::Mutex<()>,
    /// Held by the background repack. Taken after `turn`.
    repack: tokio::sync::Mutex<()>,
    /// Read-held, never for long, by what relies on packs staying where they are; write-held to delete some. Taken
    /// last.
    objects: Arc<RwLock<()>>,
}

impl Receiver {
    /// Opens the folder of all repositories (made if missing) and removes what a killed server left behind.
    pub fn open(dir: impl Into<PathBuf>, limits: Limits) -> Result<Arc<Self>, ReceiverError> {
        let dir = dir.into();
        repository::sweep(&dir)?;
        let packs = Places::new(limits.concurrent_packs, limits.packs_of_one);
        let fetches = Arc::new(Places::new(limits.concurrent_fetches, limits.fetches_of_one));
        Ok(Arc::new(Self { dir, limits, rooms: Mutex::default(), packs, fetches }))
    }

    /// Makes an app's empty repository; one that exists is left as it is.
    pub async fn create(&self, app: &AppName) -> Result<(), ReceiverError> {
        let (path, work) = (self.path(app), self.work());
        blocking(move || repository::create(&path, &work)).await
    }

    /// Deletes an app's repository, after a push that is at work has ended. One that does not exist is no error.
    pub async fn remove(&self, app: &AppName) -> Result<(), ReceiverError> {
        let room = self.room(app);
        let _turn = room.turn.lock().await;
        let _repack = room.repack.lock().await;
        let _objects = room.objects.write().await;
        let (path, work) = (self.path(app), self.work());
        blocking(move || repository::remove(&path, &work)).await
    }

    /// Whose repositories there are.
    pub async fn list(&self) -> Result<Vec<AppName>, ReceiverError> {
        let dir = self.dir.clone();
        blocking(move || repository::list(&dir)).await
    }

    /// Puts the tree of a remote repository (`reference`: branch, tag or full commit; the default branch if `None`)
    /// into the empty folder `into`, within the limits of a submodule. The error is a sentence without the URL's
    /// secrets.
    pub async fn fetch_tree(&self, url: &Url, reference: Option<&str>, into: &Path) -> Result<(), String> {
        let (url, reference, into) = (url.clone(), reference.map(str::to_owned), into.to_owned());
        let (work, limits) = (self.work(), self.limits.clone());
        // Within the runtime: its clock bounds the fetch.
        let fetch = move || remote_tree::fetch(&url, reference.as_deref(), &into, &work, &limits);
        tokio::task::spawn_blocking(fetch).await.map_err(|error| error.to_string())?
    }

    /// Makes `reference` of `app` name `commit` (40 hex digits), durably. Idempotent; the commit must have been
    /// promoted ([`Checkout::promote`]). For the pipeline, after its commit point and again at recovery.
    pub async fn move_ref(&self, app: &AppName, reference: &str, commit: &str) -> Result<(), ReceiverError> {
        let (path, reference, commit) = (self.path(app), reference.to_owned(), commit.to_owned());
        blocking(move || refs::move_to(&path, &reference, &commit)).await
    }

    /// The body of `GET info/refs?service=git-receive-pack`.
    pub async fn advertise_push(&self, app: &AppName) -> Result<Bytes, ReceiverError> {
        self.create(app).await?;
        let path = self.path(app);
        blocking(move || advertise::receive_pack(&path)).await
    }

    /// The body of `GET info/refs?service=git-upload-pack`; `version` is the request's `Git-Protocol`.
    pub fn advertise_fetch(&self, version: Option<&str>) -> Bytes {
        advertise::upload_pack(version)
    }

    /// Answers `POST git-upload-pack`.
    pub async fn fetch(
        &self,
        (app, by): (&AppName, Email),
        body: ByteStream,
        gzip: bool,
        still: Still,
    ) -> Result<ByteStream, Rejected> {
        self.create(app).await?;
        let (fetches, standstill) = (Arc::clone(&self.fetches), self.limits.standstill);
        let place = Box::pin(async move { fetches.take(&by).await.ok() });
        let at = upload_pack::At { path: self.path(app), room: self.room(app), place, standstill };
        upload_pack::answer(at, body, gzip, still).await
    }

    /// Answers `POST git-receive-pack`. Returns when the request's body is wholly read (a proxy in front may stop
    /// forwarding it once an answer begins); the answer then streams what the build says, and ends with git's report.
    /// Dropping the answer cancels the deploy.
    pub async fn push(
        self: &Arc<Self>,
        visit: Visit,
        body: ByteStream,
        gzip: bool,
        deploys: Arc<dyn Deploys>,
        still: Still,
    ) -> Result<ByteStream, Rejected> {
        self.create(&visit.app).await?;
        push::answer(Arc::clone(self), visit, body, gzip, deploys, still).await
    }

    fn path(&self, app: &AppName) -> PathBuf {
        self.dir.join(format!("{app}.git"))
    }

    /// Where checkouts lie and repositories are made and unmade; no app's name begins with a dot.
    fn work(&self) -> PathBuf {
        self.dir.join(repository::WORK)
    }

    fn room(&self, app: &AppName) -> Arc<Room> {
        Arc::clone(self.rooms.lock().unwrap_or_else(PoisonError::into_inner).entry(app.clone()).or_default())
    }
}

/// Runs what blocks (all of gix does) where blocking is allowed.
async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<ReceiverError> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(ReceiverError::Git(format!("a git task ended unexpectedly: {error}")).into()),
    }
}

/// Flushes a folder's entries (new names, renames) to the disk.
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}
