//! Log drains: `/api/apps/A/drains`.

use serde::{Deserialize, Serialize};

/// An entry of `GET /api/apps/A/drains`, and the answer to `POST`.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Drain {
    /// Names it in `DELETE`.
    pub id: String,
    /// Names it to the other side (`Logplex-Drain-Token`).
    pub token: String,
    /// Where it leads; to those who only look on, only scheme, host and port.
    pub url: String,
    /// Lines that the other side has taken.
    pub delivered: u64,
    /// Lines that were lost to a slow drain or refused by it.
    pub dropped: u64,
    /// What went wrong last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// When, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error_at: Option<String>,
}

/// `POST /api/apps/A/drains`.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AddDrain {
    /// `https://…`, `http://…`, `syslog://HOST:PORT` or `syslog+tls://HOST:PORT`.
    pub url: String,
}

/// `DELETE /api/apps/A/drains`.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RemoveDrain {
    /// The official client sends text; numbers are taken too.
    pub drain_id: DrainId,
}

/// A drain's number, as text or as a number.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum DrainId {
    /// `"7"`.
    Text(String),
    /// `7`.
    Number(i64),
}
