//! Canaries.

use serde::{Deserialize, Serialize};

/// An entry of `GET /api/apps/A/canaries`.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Canary {
    /// The app that gets visitors.
    pub canary: String,
    /// Percent of them.
    pub weight: u8,
}

/// `PUT /api/apps/A/canaries`; what is not told stays as it is.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SetCanary {
    /// The app that gets visitors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<String>,
    /// Percent of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<i64>,
}
