//! Mail for a platform without a relay: one `.eml` file per mail, which the operator opens.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lettre::Message;
use uuid::Uuid;

use super::MailError;

/// Mails kept; the oldest give way.
pub(super) const KEPT: usize = 500;

#[derive(Clone)]
pub(super) struct Outbox {
    folder: Arc<Path>,
}

impl Outbox {
    /// Makes the folder (mode 0700) if need be.
    pub(super) fn open(folder: PathBuf) -> Result<Self, MailError> {
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        std::fs::set_permissions(&folder, Permissions::from_mode(0o700))?;
        Ok(Self { folder: folder.into() })
    }

    /// Writes a mail and names its file in the log. What it says is a secret, so the log does not.
    pub(super) async fn put(&self, message: &Message) -> Result<(), MailError> {
        let to: Vec<String> = message.envelope().to().iter().map(ToString::to_string).collect();
        let (folder, bytes) = (self.folder.clone(), message.formatted());
        let file = tokio::task::spawn_blocking(move || write(&folder, &bytes)).await.map_err(io::Error::other)??;
        tracing::info!(mail.to = to.join(", "), mail.file = %file.display(), "no SMTP relay is set: a mail is in the outbox");
        Ok(())
    }
}

/// Names begin with the time, so that their order is that of the mails.
fn write(folder: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let name = format!("{}-{}", jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S%3f"), Uuid::new_v4().simple());
    let (part, whole) = (folder.join(format!("{name}.part")), folder.join(format!("{name}.eml")));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&part, &whole)?;
    forget_oldest(folder)?;
    Ok(whole)
}

fn forget_oldest(folder: &Path) -> io::Result<()> {
    let mut names: Vec<PathBuf> = std::fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    names.retain(|path| path.extension().is_some_and(|extension| extension == "eml"));
    names.sort_unstable();
    let surplus = names.len().saturating_sub(KEPT);
    // Another mail may have removed it meanwhile.
    names.iter().take(surplus).for_each(|path| drop(std::fs::remove_file(path)));
    Ok(())
}
