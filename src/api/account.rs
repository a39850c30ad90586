//! Accounts: `/api/signup`, `/api/login`, `/api/users…`, `/api/api_keys…`.

use serde::{Deserialize, Serialize};

/// `POST /api/signup`: one endpoint, four steps, told apart by which field is there; `uuid` threads them.
///
/// e-mail → (code mailed) → confirmation code → password → tier (`FREE`), which answers [`SignedUp`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SignupStep {
    /// First step: the address to sign up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Names the session in every later step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Second step: the code from the mail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmation_code: Option<String>,
    /// Third step: the password to set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// A promotion code; always refused by a self-hosted platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promo_code: Option<String>,
    /// Opaque payment token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stripe_token: Option<String>,
    /// Last step: `FREE` or `STANDARD`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
}

/// Answer to every signup step but the last.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SignupSession {
    /// To be sent with the next step.
    pub uuid: String,
}

/// Answer to the last signup step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SignedUp {
    /// The confirmed address.
    pub email: String,
    /// A fresh API key.
    pub key: String,
}

/// Answer of `GET /api/login` and `POST /api/api_keys/regenerate`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Key {
    /// The API key, shown this once.
    pub key: String,
    /// RFC 3339, 365 days ahead.
    pub expires_at: String,
}

/// `GET /api/users`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Account {
    /// The account's address.
    pub email: String,
    /// `FREE` on a self-hosted platform.
    pub tier: String,
    /// Always 0 here.
    pub credit_cents: i64,
    /// When the key used for this request expires, RFC 3339.
    pub api_key_expires_at: Option<String>,
}

/// `PATCH /api/users/change_password` (today's form) and `PATCH /api/users` (2017's: only `new_password`).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChangePassword {
    /// Today's password; absent in the 2017 form, where it is the Basic password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_password: Option<String>,
    /// The password to set.
    pub new_password: String,
}

/// `PUT /api/users/reset_password`, `PUT /api/users/reconfirm_email`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EmailOnly {
    /// Whose mail to send.
    pub email: String,
}

/// `POST /api/users/reset_password`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SetPassword {
    /// From the mail.
    pub token: String,
    /// The password to set.
    pub password: String,
}
