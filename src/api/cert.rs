//! Certificates of an app's hosts.

use serde::{Deserialize, Serialize};

/// One host, in the answer to `GET /api/apps/A/certs`.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cert {
    /// The host.
    pub fqdn: String,
    /// `acme`, `own`, `internal`; nothing when there is no certificate.
    pub source: Option<String>,
    /// The names that the certificate covers.
    pub names: Vec<String>,
    /// Who signed it.
    pub issuer: Option<String>,
    /// RFC 3339.
    pub expires_at: Option<String>,
    /// `renew`, `replace`, `sign`, `deploy`, `off`, or where an order is: `waiting`, `due`, `placed`, `answered`,
    /// `finalized`.
    pub next: String,
    /// When that is, RFC 3339.
    pub next_at: Option<String>,
    /// Why there is none yet.
    pub last_error: Option<String>,
}

/// `POST /api/apps/A/certs`: an own certificate, both PEM.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Clone, Serialize, Deserialize)]
pub struct AddCert {
    /// The host.
    pub fqdn: String,
    /// The chain, leaf first.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

/// `POST /api/apps/A/certs/renew`.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RenewCert {
    /// The host.
    pub fqdn: String,
    /// Whether the CA is told that the present one must not be trusted any more.
    #[serde(default)]
    pub revoke: bool,
}
