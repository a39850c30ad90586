//! Sending mail.

use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;

/// Mail. Without a host each mail is a file in `DATA/outbox`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SmtpConfig {
    /// The relay.
    pub host: Option<String>,
    /// By default 587, 465 or 25, as `tls` has it.
    pub port: Option<u16>,
    /// How the connection is protected.
    pub tls: SmtpTls,
    /// To sign in with.
    pub username: Option<String>,
    /// To sign in with.
    pub password: Option<SecretString>,
    /// A file that holds the password.
    pub password_file: Option<PathBuf>,
    /// The sender; by default `gigalixir@DOMAIN`.
    pub from: Option<String>,
}

/// How an SMTP connection is protected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SmtpTls {
    /// Begins plain, must turn to TLS.
    #[default]
    Starttls,
    /// TLS from the first byte.
    Tls,
    /// Not at all.
    None,
}
