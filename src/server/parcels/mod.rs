//! What builds on other machines begin with and what they bring back: a parcel each way, by signed addresses of this server.
//!
//! A build is code that nobody trusts, and it knows both of its addresses. What is guarded here: an address is good for one
//! build and one direction, as long as that build is waited for and no longer than it was signed for. By the one a build gets
//! what is its own anyway; by the other it hands in its own result, once, and no more bytes than it may. A parcel goes to the
//! disk as it comes, one of a build at a time; of one that breaks off nothing is left, and it may be sent again. What is in
//! it is no more to be trusted than the build, and is for whoever waits for it to judge.
//!
//! Deliberately absent: a memory of parcels beyond this process. A build is waited for by the server that began it.

mod counter;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use tempfile::{NamedTempFile, TempPath};
use tokio::sync::watch;
use url::Url;

use self::counter::{Arrival, Arriving, Counter};
use super::signing::Signer;

/// Why a parcel is not handed out or taken in.
#[derive(Debug, thiserror::Error)]
pub enum ParcelError {
    /// The signature is not ours, or not for this, or has expired.
    #[error("this build's address is not genuine or has expired")]
    Foreign,
    /// No build is let in any more.
    #[error("this server is about to stop: push again in a moment")]
    Closed,
    /// There is no such build.
    #[error("nobody waits for this build")]
    Unknown,
    /// Its result is there.
    #[error("this build has handed in its result")]
    Done,
    /// The same build has begun to send it anew.
    #[error("another attempt has taken the place of this one")]
    Overtaken,
    /// The build handed in more than it may.
    #[error("that is more than this build may hand in")]
    TooMuch,
    /// It broke off.
    #[error("it did not come whole")]
    Broken(#[source] io::Error),
    /// The disk's refusal.
    #[error("it could not be kept")]
    Io(#[from] io::Error),
}

/// All parcels that are waited for.
#[derive(Debug)]
pub struct Parcels {
    dir: PathBuf,
    signer: Signer,
    awaited: watch::Sender<Awaited>,
}

#[derive(Debug, Default)]
struct Awaited {
    builds: HashMap<String, Arc<Counter>>,
    closed: bool,
}

impl Parcels {
    /// In a folder of its own, which is emptied. `key` signs addresses and is used for nothing else.
    pub fn open(dir: PathBuf, key: &[u8; 32]) -> io::Result<Arc<Self>> {
        fs::create_dir_all(&dir)?;
        fs::remove_dir_all(&dir)?;
        fs::create_dir(&dir)?;
        Ok(Arc::new(Self { dir, signer: Signer::new(key), awaited: watch::Sender::default() }))
    }

    /// An empty file for what a build begins with; gone when it is dropped.
    pub fn file(&self) -> io::Result<NamedTempFile> {
        NamedTempFile::new_in(&self.dir)
    }

    /// Opens the door for one build, whose name is unique: `outgoing` is what it begins with, `most` how many bytes it may
    /// bring back. Closed when the answer is dropped.
    pub fn expect(self: &Arc<Self>, build: &str, outgoing: TempPath, most: u64) -> Result<Parcel, ParcelError> {
        let (counter, arriving) = Counter::new(outgoing, most);
        let counter = Arc::new(counter);
        let is_open = self.awaited.send_if_modified(|awaited| {
            if !awaited.closed {
                awaited.builds.insert(build.to_owned(), counter.clone());
            }
            !awaited.closed
        });
        let parcel = Parcel { parcels: self.clone(), build: build.to_owned(), counter, arriving, arrived: None };
        if is_open { Ok(parcel) } else { Err(ParcelError::Closed) }
    }

    /// Lets no build in any more, and returns when none is waited for: those that are under way could not hand in what they
    /// made where nobody listens.
    pub async fn close(&self) {
        self.awaited.send_modify(|awaited| awaited.closed = true);
        // We hold the sender.
        let _ = self.awaited.subscribe().wait_for(|awaited| awaited.builds.is_empty()).await;
    }

    /// The file with what a build begins with.
    pub fn outgoing(&self, build: &str, expires: u64, signature: &str) -> Result<PathBuf, ParcelError> {
        Ok(self.counter(build, Way::Out, expires, signature)?.outgoing.to_path_buf())
    }

    /// Takes in a build's result, which is refused before a byte of it is read if nobody waits for it.
    pub async fn take_in(
        &self,
        build: &str,
        expires: u64,
        signature: &str,
        body: impl Stream<Item = io::Result<Bytes>> + Send,
    ) -> Result<(), ParcelError> {
        self.counter(build, Way::In, expires, signature)?.take_in(&self.dir, body).await
    }

    fn counter(&self, build: &str, way: Way, expires: u64, signature: &str) -> Result<Arc<Counter>, ParcelError> {
        if !self.signer.verify(&way.subject(build), expires, signature) {
            return Err(ParcelError::Foreign);
        }
        self.awaited.borrow().builds.get(build).cloned().ok_or(ParcelError::Unknown)
    }
}

/// Where a parcel goes.
#[derive(Debug, Clone, Copy)]
enum Way {
    Out,
    In,
}

impl Way {
    /// What is signed: no name of a build has a blank.
    fn subject(self, build: &str) -> String {
        match self {
            Self::Out => format!("out {build}"),
            Self::In => format!("in {build}"),
        }
    }
}

/// A build that is waited for.
#[derive(Debug)]
pub struct Parcel {
    parcels: Arc<Parcels>,
    build: String,
    counter: Arc<Counter>,
    arriving: Arriving,
    arrived: Option<Arrival>,
}

impl Parcel {
    /// Where the build fetches what it begins with, and where it hands in its result: below `base`, good for `ttl`.
    pub fn addresses(&self, base: &Url, ttl: Duration) -> (Url, Url) {
        let path = format!("builds/{}/folders", self.build);
        let url = |way: Way| self.parcels.signer.url(base, &path, &way.subject(&self.build), ttl);
        (url(Way::Out), url(Way::In))
    }

    /// Comes when the build has sent more than it may; otherwise never.
    pub async fn overflows(&mut self) {
        if self.arrived.is_none() {
            self.arrived = (&mut self.arriving).await.ok();
        }
        if !matches!(self.arrived, Some(Arrival::TooMuch)) {
            std::future::pending::<()>().await;
        }
    }

    /// What was handed in, from its beginning; `None` if nothing was.
    pub fn open(mut self) -> Option<fs::File> {
        match self.arrived.take().or_else(|| self.arriving.try_recv().ok()) {
            Some(Arrival::Whole(file)) => Some(file),
            Some(Arrival::TooMuch) | None => None,
        }
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        self.parcels.awaited.send_modify(|awaited| drop(awaited.builds.remove(&self.build)));
        self.counter.close();
    }
}

/// What is on its way is nowhere to be seen in the folder.
fn incoming(dir: &Path) -> io::Result<fs::File> {
    tempfile::tempfile_in(dir)
}

#[cfg(test)]
mod tests;
