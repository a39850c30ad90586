//! Accounts: `/api/signup`, `/api/login`, `/api/users…`, `/api/api_keys…`.

use serde::{Deserialize, Serialize};

/// `POST /api/signup`: one endpoint, told apart by which field is there; `uuid` threads the steps.
///
/// e-mail → (code mailed) → confirmation code → password → tier, which answers [`SignedUp`]. `STANDARD`, where use has a
/// price, takes a payment token before the tier.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
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
    /// Opaque payment token; refused where nothing has a price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stripe_token: Option<String>,
    /// `google`; always refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oauth: Option<String>,
    /// Last step: `FREE` or `STANDARD`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
}

/// `POST /api/users`, `POST /api/free_users`: signing up as in 2017.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SignUpAtOnce {
    /// The address to sign up.
    pub email: String,
    /// The password to set.
    pub password: String,
    /// Opaque payment token; kept only where use has a price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stripe_token: Option<String>,
}

/// Answer to every signup step but the last.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SignupSession {
    /// To be sent with the next step.
    pub uuid: String,
}

/// Answer to the last signup step.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SignedUp {
    /// The confirmed address.
    pub email: String,
    /// A fresh API key.
    pub key: String,
}

/// Answer to a signup step.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SignupAnswer {
    /// To every step but the last.
    Next(SignupSession),
    /// To the last.
    Done(SignedUp),
}

/// Answer of `GET /api/login` and `POST /api/api_keys/regenerate`.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Key {
    /// The API key, shown this once.
    pub key: String,
    /// RFC 3339, 365 days ahead.
    pub expires_at: String,
}

/// `GET /api/users`.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Account {
    /// The account's address.
    pub email: String,
    /// `FREE`, or `STANDARD` where use has a price.
    pub tier: String,
    /// Always 0 here.
    pub credit_cents: i64,
    /// When the key used for this request expires, RFC 3339.
    pub api_key_expires_at: Option<String>,
}

/// `PATCH /api/users/change_password` (today's form) and `PATCH /api/users` (2017's: only `new_password`).
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChangePassword {
    /// Today's password; absent in the 2017 form, where it is the Basic password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_password: Option<String>,
    /// The password to set.
    pub new_password: String,
}

/// `PUT /api/users/reset_password`, `PUT /api/users/reconfirm_email`; answer to a change of address.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EmailOnly {
    /// Whose.
    pub email: String,
}

/// `POST /api/users/reset_password`.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SetPassword {
    /// From the mail.
    pub token: String,
    /// The password to set.
    pub password: String,
}

/// `POST /api/users/email`.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChangeEmail {
    /// The address to have.
    pub next_email: String,
    /// Today's password.
    #[serde(default)]
    pub current_password: String,
}

/// `POST /api/users/email/confirm`, `POST /api/users/email/revoke`.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MailedToken {
    /// From the mail.
    pub token: String,
}

/// `DELETE /api/users/destroy`.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DestroyAccount {
    /// The account's address, as a confirmation.
    pub email: String,
    /// Today's password.
    pub current_password: String,
}

/// `GET /api/payment_methods`. What is not known of an opaque token is absent.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct PaymentMethod {
    /// `unknown`.
    pub brand: String,
    /// The card's last digits.
    pub last4: Option<String>,
    /// 1 to 12.
    pub exp_month: Option<u8>,
    /// Four digits.
    pub exp_year: Option<u16>,
}

/// `PUT /api/payment_methods`, `POST /api/upgrade`.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PaymentToken {
    /// Of a payment service; opaque.
    pub stripe_token: String,
    /// Always refused by a self-hosted platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promo_code: Option<String>,
}
