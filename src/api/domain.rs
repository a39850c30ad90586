//! Custom domains.

use serde::{Deserialize, Serialize};

/// `DELETE /api/apps/A/domains`.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Domain {
    /// The host name.
    pub fqdn: String,
}

/// `POST /api/apps/A/domains`.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AddDomain {
    /// The host name.
    pub fqdn: String,
    /// Whether the DNS is asked where the name leads.
    #[serde(default)]
    pub check: bool,
}

/// The answer to `POST /api/apps/A/domains`.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Added {
    /// The host name, lower case.
    pub fqdn: String,
    /// What its DNS record must point at.
    pub cname: String,
    /// What the DNS says, if it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<Dns>,
}

/// What the DNS says of a host.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Dns {
    /// `here`, `nowhere`, `elsewhere`, `unknown`.
    pub leads: String,
    /// The addresses, when they are not the platform's.
    pub addresses: Vec<String>,
}
