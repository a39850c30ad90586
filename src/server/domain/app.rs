use jiff::Timestamp;

use super::{AppName, Formation, ReleaseVersion, Stack, UserId};

/// An app's row; never reused, unlike a name after `destroy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppId(pub i64);

/// An app as its owner wishes it.
#[derive(Debug, Clone)]
pub struct App {
    /// Its row.
    pub id: AppId,
    /// Its name.
    pub name: AppName,
    /// Whose it is; others may have a [`Role`](super::Role) in it.
    pub owner: UserId,
    /// What it is built on.
    pub stack: Stack,
    /// Whether visitors read the maintenance page.
    pub maintenance: bool,
    /// Wished replicas and size, now.
    pub formation: Formation,
    /// The release that is meant to run; `None` before the first deploy.
    pub live: Option<ReleaseVersion>,
    /// When it was made.
    pub created_at: Timestamp,
}
