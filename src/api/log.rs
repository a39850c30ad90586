//! Logs: `GET /api/apps/A/logs` answers chunked plain text, not JSON.
//!
//! A line is `2019-05-29T13:01:58.840950+00:00 app[POD]: web.1  | text`; the platform's own lines have `gigalixir` as
//! the pod and no process prefix.

use serde::{Deserialize, Serialize};

/// The query of `GET /api/apps/A/logs`.
#[cfg_attr(feature = "server", derive(utoipa::IntoParams))]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct LogQuery {
    /// How many old lines first; text, since the official client does not check it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_lines: Option<String>,
    /// `True` or `False` as Python prints them; absent means follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow: Option<String>,
    /// Only this process type (ours).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// Only this replica (ours): its name, or as `web.2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<String>,
}
