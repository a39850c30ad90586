//! Releases: `/api/apps/A/releases…`.

use serde::{Deserialize, Serialize};

/// One release; `GET /api/apps/A/releases` lists them newest first.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Release {
    /// 1, 2, 3 …
    pub version: u32,
    /// Names the release in `rollback` as well as the version does.
    pub rollback_id: String,
    /// The commit; absent before the first push.
    pub sha: Option<String>,
    /// What made it: "Deploy 77f6c29", "Set `K` config var.", "Rollback to v3".
    pub summary: String,
    /// Who made it.
    pub created_by: String,
    /// RFC 3339.
    pub created_at: String,
    /// The name the build gave itself (the mix release's name).
    pub customer_app_name: Option<String>,
    /// The version the build gave itself.
    pub customer_app_version: Option<String>,
    /// `live`, `failed`, `superseded`, `deploying`.
    pub state: String,
    /// Never shown: `<REDACTED>`, as scripts expect the field.
    pub slug_url: String,
}
