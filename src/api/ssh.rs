//! `/api/apps/A/ssh_ip`.

use serde::{Deserialize, Serialize};

/// How `ssh` gets into an app's replicas.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SshAddress {
    /// `APP@HOST -p PORT`: words of an ssh command line, of which Gigalixir's own client makes `root@APP@HOST -p PORT`.
    pub ssh_ip: String,
}
