use std::fmt;

use rand::distr::{Alphanumeric, SampleString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The secrets that every app gets when it is made, and keeps. `Debug` shows none of them.
#[derive(Clone, Serialize, Deserialize)]
pub struct AppSecrets {
    /// `SECRET_KEY_BASE`: Phoenix asks for 64 bytes or more.
    pub secret_key_base: String,
    /// `ERLANG_COOKIE`: the same on all replicas, so that they can form a cluster.
    pub erlang_cookie: String,
    /// `APP_KEY`: with it a replica may ask the platform about its own app.
    pub app_key: String,
    /// `LOGPLEX_TOKEN`.
    pub logplex_token: String,
}

impl AppSecrets {
    /// New ones, from the system's generator.
    pub fn generate() -> Self {
        let letters = |count| Alphanumeric.sample_string(&mut rand::rng(), count);
        Self {
            secret_key_base: letters(64),
            erlang_cookie: letters(32),
            app_key: Uuid::new_v4().to_string(),
            logplex_token: Uuid::new_v4().to_string(),
        }
    }

    /// The same with another cookie.
    pub(super) fn with_new_cookie(self) -> Self {
        Self { erlang_cookie: Self::generate().erlang_cookie, ..self }
    }
}

impl fmt::Debug for AppSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AppSecrets(…)")
    }
}
