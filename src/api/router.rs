//! What holds for the requests of an app's visitors.

use serde::{Deserialize, Serialize};

/// `GET /api/apps/A/router`.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RouterRules {
    /// Requests and WebSockets at a time; 0: as many as come.
    pub max_connections: u32,
    /// Bytes of a request's body; 0: as many as come.
    pub max_body_bytes: u64,
    /// Whether a browser comes to the same replica again, by a cookie.
    pub affinity: bool,
    /// Whether replicas are spoken to by HTTP/2 without TLS, with prior knowledge.
    pub h2c: bool,
    /// Where visitors of the other one of `www.HOST` and `HOST` are sent: `www`, `apex` or `none`.
    pub canonical: String,
    /// Whether each request is a line in the app's log.
    pub access_log: bool,
    /// Whether the app has a maintenance page of its own.
    pub maintenance_page: bool,
}

/// `PATCH /api/apps/A/router`; what is not told stays as it is.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SetRouterRules {
    /// Requests and WebSockets at a time; 0: as many as come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u32>,
    /// Bytes of a request's body; 0: as many as come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_body_bytes: Option<u64>,
    /// Whether a browser comes to the same replica again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<bool>,
    /// Whether replicas are spoken to by HTTP/2 without TLS, with prior knowledge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub h2c: Option<bool>,
    /// `www`, `apex` or `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canonical: Option<String>,
    /// Whether each request is a line in the app's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_log: Option<bool>,
}

/// `GET` and `PUT /api/apps/A/maintenance/page`.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MaintenancePage {
    /// For browsers, while the app is under maintenance; empty: the platform's page.
    pub html: String,
}
