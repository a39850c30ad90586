//! `/api/mfa…`: a second factor for sign-ins.

use serde::{Deserialize, Serialize};

/// Answer of `POST /api/mfa/start`.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MfaSecret {
    /// What to do with it.
    pub message: String,
    /// `otpauth://totp/…`, for an authenticator app.
    pub url: String,
}

/// `POST /api/mfa/verify`.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MfaToken {
    /// Six digits.
    pub mfa_token: String,
}

/// Answer of `POST /api/mfa/verify` and `POST /api/mfa/recovery_codes`.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RecoveryCodes {
    /// What happened.
    pub message: String,
    /// Each is good for one sign-in; shown this once.
    pub recovery_codes: Vec<String>,
}
