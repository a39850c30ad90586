//! Getting buildpacks: built in, from a folder the operator allows, from git, from a tarball. What was fetched is kept,
//! and used again when its source cannot be reached.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sha2::{Digest, Sha256};
use tokio::sync::RwLock;
use url::Url;
use walkdir::WalkDir;

use super::buildpacks::PackRef;
use super::builtin::Builtin;
use super::error::BuildError;
use super::tarball;
use crate::server::progress::Progress;

/// What fetching one pack may take.
const TIME: Duration = Duration::from_mins(5);
/// Fetched packs that are kept; anybody can think of another address for each build.
pub(super) const KEPT: usize = 32;

/// Fetches git repositories. The receiver's room implements it: git lives there.
#[async_trait]
pub trait GitSource: Send + Sync + 'static {
    /// Puts the tree of `reference` (a branch, tag or full commit; the default branch if `None`) into the empty folder
    /// `into`. No history is needed.
    ///
    /// # Errors
    /// A sentence for the pusher, without the credentials that `url` may hold.
    async fn fetch(&self, url: &Url, reference: Option<&str>, into: &Path) -> Result<(), String>;
}

/// All sources of packs.
pub(super) struct Packs {
    /// The platform's own.
    pub(super) builtin: Builtin,
    /// Where fetched ones are kept: `KEY/NUMBER`, and `KEY/current` links to the newest.
    pub(super) dir: PathBuf,
    /// The folder below which local ones are allowed.
    pub(super) allowed: Option<PathBuf>,
    /// For git ones.
    pub(super) git: Arc<dyn GitSource>,
    /// For tarballs.
    pub(super) http: reqwest::Client,
    /// Read-held by who copies one; write-held, never waited for, by who removes what nobody will copy any more.
    pub(super) copying: RwLock<()>,
}

impl Packs {
    /// Copies a pack to `to`, where the build may write into it.
    pub(super) async fn copy(&self, pack: &PackRef, to: PathBuf, progress: &Progress) -> Result<(), BuildError> {
        let copied = self.copied(pack, to, progress).await;
        // Whoever else copies one does this after.
        if let Ok(_alone) = self.copying.try_write() {
            let dir = self.dir.clone();
            let swept = tokio::task::spawn_blocking(move || sweep(&dir)).await;
            if let Err(error) = swept.map_err(io::Error::other).flatten() {
                tracing::warn!(%error, "Buildpacks that were fetched before could not be removed.");
            }
        }
        copied
    }

    async fn copied(&self, pack: &PackRef, to: PathBuf, progress: &Progress) -> Result<(), BuildError> {
        let _stays = self.copying.read().await;
        let from = tokio::select! {
            folder = self.folder(pack, progress) => folder?,
            () = progress.cancelled().cancelled() => return Err(BuildError::Cancelled),
        };
        for missing in ["bin/detect", "bin/compile"] {
            if !from.join(missing).is_file() {
                return Err(BuildError::NotAPack { pack: pack.to_string(), missing });
            }
        }
        let copied = tokio::task::spawn_blocking(move || copy_tree(&from, &to)).await;
        copied.map_err(io::Error::other).and_then(|copied| copied).map_err(BuildError::io("copying a buildpack"))
    }

    async fn folder(&self, pack: &PackRef, progress: &Progress) -> Result<PathBuf, BuildError> {
        let failed = |reason: String| BuildError::PackFetch { pack: pack.to_string(), reason };
        match pack {
            PackRef::Builtin(name) => Ok(self.builtin.pack(name)),
            PackRef::Folder(path) => self.allowed(path).map_err(failed),
            PackRef::Git { reference, .. } => {
                let kept = self.dir.join(key(pack)).join("current");
                let fixed =
                    reference.as_ref().is_some_and(|it| it.len() == 40 && it.bytes().all(|c| c.is_ascii_hexdigit()));
                if let (true, Ok(current)) = (fixed, fs::canonicalize(&kept)) {
                    return Ok(current);
                }
                self.fetched(pack, progress).await.map_err(failed)
            }
            PackRef::Tarball(_) => self.fetched(pack, progress).await.map_err(failed),
        }
    }

    fn allowed(&self, path: &Path) -> Result<PathBuf, String> {
        let refused = || "folders of the machine are not allowed as buildpacks; use its https address".to_owned();
        let allowed = self.allowed.as_ref().and_then(|folder| fs::canonicalize(folder).ok()).ok_or_else(refused)?;
        let real = fs::canonicalize(path).map_err(|_| "there is no such folder".to_owned())?;
        if real.starts_with(&allowed) { Ok(real) } else { Err(refused()) }
    }

    /// Fetches anew; what was kept serves when that fails.
    async fn fetched(&self, pack: &PackRef, progress: &Progress) -> Result<PathBuf, String> {
        let dir = self.dir.join(key(pack));
        fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
        let fresh = tempfile::tempdir_in(&dir).map_err(|error| error.to_string())?;
        let fetch = async {
            match pack {
                PackRef::Git { url, reference } => self.git.fetch(url, reference.as_deref(), fresh.path()).await,
                PackRef::Tarball(url) => tarball::fetch(&self.http, url, fresh.path()).await,
                PackRef::Builtin(_) | PackRef::Folder(_) => Ok(()),
            }
        };
        let result = tokio::time::timeout(TIME, fetch).await.unwrap_or_else(|_| Err("it takes too long".to_owned()));
        let current = dir.join("current");
        match (result, fs::canonicalize(&current)) {
            (Ok(()), _) => keep(&fresh.keep(), &current).map_err(|error| error.to_string()),
            (Err(reason), Ok(kept)) => {
                progress.line(format!("       Using the buildpack as fetched before: {reason}")).await;
                Ok(kept)
            }
            (Err(reason), Err(_)) => Err(reason),
        }
    }
}

/// Removes fetched packs that newer ones have replaced, and of all others those that were fetched longest ago. For when
/// nobody copies one.
pub(super) fn sweep(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let mut kept = Vec::new();
    for key in fs::read_dir(dir)?.flatten() {
        let link = key.path().join("current");
        let current = fs::canonicalize(&link).ok();
        for entry in fs::read_dir(key.path())?.flatten() {
            if entry.file_type()?.is_dir() && fs::canonicalize(entry.path()).ok() != current {
                fs::remove_dir_all(entry.path())?;
            }
        }
        kept.push((fs::symlink_metadata(&link).and_then(|link| link.modified()).ok(), key.path()));
    }
    kept.sort();
    let surplus = kept.len().saturating_sub(KEPT);
    kept.drain(..surplus).try_for_each(|(_, key)| fs::remove_dir_all(key))
}

/// Makes `current` lead to `fresh`, at once for every reader. The one before stays for builds that still copy it.
fn keep(fresh: &Path, current: &Path) -> io::Result<PathBuf> {
    let link = fresh.with_extension("link");
    std::os::unix::fs::symlink(fresh, &link)?;
    fs::rename(&link, current)?;
    Ok(fresh.to_owned())
}

/// Names a pack's folder; the address may hold a token, the name shows nothing of it.
fn key(pack: &PackRef) -> String {
    let text = match pack {
        PackRef::Git { url, reference } => format!("{url}#{}", reference.as_deref().unwrap_or_default()),
        PackRef::Tarball(url) => url.to_string(),
        PackRef::Builtin(name) => name.clone(),
        PackRef::Folder(path) => path.display().to_string(),
    };
    hex::encode(Sha256::digest(text))
}

/// Copies files, folders, links and modes; nothing else is in a buildpack.
fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    for entry in WalkDir::new(from) {
        let entry = entry?;
        let target = to.join(entry.path().strip_prefix(from).map_err(io::Error::other)?);
        let kind = entry.file_type();
        if kind.is_dir() {
            fs::create_dir_all(&target)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path())?, &target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
