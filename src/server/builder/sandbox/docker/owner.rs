//! Whose a job's folders are while it runs.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Gid, Uid, chownat};
use walkdir::WalkDir;

use super::super::{ID, Job};

/// Folders that belong to the user inside for a while.
pub(super) struct Lent {
    folders: Vec<PathBuf>,
    /// Whose they are otherwise, and whose now.
    owner: (u32, u32),
    user: (u32, u32),
}

impl Lent {
    /// Lends a job's folders, if this server may give files away: only root may.
    pub(super) async fn to_the_user_inside(job: &Job) -> io::Result<Self> {
        let owner = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let user = if owner.0 == 0 { (ID, ID) } else { owner };
        let folders = job.folders.iter().map(|folder| folder.host.clone()).filter(|folder| folder.is_dir()).collect();
        let lent = Self { folders, owner, user };
        lent.hand_over(user).await?;
        Ok(lent)
    }

    /// The user inside.
    pub(super) fn user(&self) -> (u32, u32) {
        self.user
    }

    /// Takes them back. Nothing of the job may run any more.
    pub(super) async fn give_back(self) -> io::Result<()> {
        self.hand_over(self.owner).await
    }

    async fn hand_over(&self, to: (u32, u32)) -> io::Result<()> {
        if self.owner == self.user {
            return Ok(());
        }
        let folders = self.folders.clone();
        let work = move || folders.iter().try_for_each(|folder| give(folder, to));
        tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
    }
}

/// Gives everything in a folder to somebody; what links lead to stays as it is.
fn give(folder: &Path, (user, group): (u32, u32)) -> io::Result<()> {
    for entry in WalkDir::new(folder) {
        let entry = entry?;
        if entry.metadata()?.uid() != user {
            let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
            chownat(CWD, entry.path(), Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
        }
    }
    Ok(())
}
