//! Custom domains.

use serde::{Deserialize, Serialize};

/// `POST` and `DELETE /api/apps/A/domains`.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Domain {
    /// The host name.
    pub fqdn: String,
}

/// The answer to `POST /api/apps/A/domains`.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Added {
    /// The host name, lower case.
    pub fqdn: String,
    /// What its DNS record must point at.
    pub cname: String,
}
