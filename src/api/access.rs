//! Roles in an app.

use serde::{Deserialize, Serialize};

/// `GET /api/apps/A/permissions`.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct People {
    /// The owner's address.
    pub owner: String,
    /// Who may work on it.
    pub collaborators: Vec<String>,
    /// Who may look at it.
    pub viewers: Vec<String>,
}

/// `POST /api/apps/A/permissions`.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Grant {
    /// Whose role.
    pub email: String,
    /// `COLLABORATOR` (when not told) or `VIEWER`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
}

/// `DELETE /api/apps/A/permissions`: the body, or the query.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Revoke {
    /// Whose role.
    #[serde(default)]
    pub email: String,
}
