use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{AppId, ConfigVars, Formation, Slug};

/// 1, 2, 3 … within an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ReleaseVersion(pub u32);

impl fmt::Display for ReleaseVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

/// Code + config + formation + who + when + why. Immutable but for its state.
#[derive(Debug, Clone)]
pub struct Release {
    /// Whose.
    pub app: AppId,
    /// Its number.
    pub version: ReleaseVersion,
    /// Its other name, for `rollback`.
    pub rollback_id: Uuid,
    /// The code; `None` for config set before the first push.
    pub slug: Option<Slug>,
    /// The configuration it runs with.
    pub config: ConfigVars,
    /// The formation it last ran with (as made, while it has not been superseded).
    pub formation: Formation,
    /// What made it, one line.
    pub summary: String,
    /// The address of who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// What became of it.
    pub state: ReleaseState,
}

/// What became of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseState {
    /// Its deploy is under way.
    Deploying,
    /// The one that is meant to run.
    Live,
    /// Was live once.
    Superseded,
    /// Never became healthy, or was cut off; nothing runs it.
    Failed,
}

impl ReleaseState {
    /// As stored and as on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deploying => "deploying",
            Self::Live => "live",
            Self::Superseded => "superseded",
            Self::Failed => "failed",
        }
    }

    /// From the store.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Deploying, Self::Live, Self::Superseded, Self::Failed].into_iter().find(|s| s.as_str() == text)
    }
}
