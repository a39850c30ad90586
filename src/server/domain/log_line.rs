use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ProcessType;

/// One line of an app's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When it was written.
    pub at: Timestamp,
    /// By whom.
    pub source: LogSource,
    /// The text without its line end; at most 64 KiB, lossy UTF-8.
    pub text: String,
}

/// Who wrote a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogSource {
    /// A replica's stdout or stderr.
    Instance {
        /// The instance's name.
        name: String,
        /// Its process type.
        process: ProcessType,
        /// Its index; with the process it is `web.1`.
        index: u32,
    },
    /// The platform: deploys, crashes, scaling.
    Platform,
    /// A build.
    Build,
    /// The access log.
    Router,
}
