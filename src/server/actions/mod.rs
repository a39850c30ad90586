//! What a person may ask of the platform, one file per noun: authorise → validate → write → set going.
//!
//! Doors (`http`, `ssh`) call these and nothing below; a rule that stands here holds at every door. Nothing
//! here knows of status codes: [`ActionError`] says what kind of refusal it is, the door says it in its own language.

mod access;
pub mod account;
mod activity;
mod allowance;
pub mod apps;
mod canary;
mod certs;
mod config;
mod console;
mod crowd;
mod destroy;
mod domains;
mod drains;
mod email;
pub mod enter;
mod jobs;
mod logs;
mod machines;
mod maintenance;
mod mfa;
mod observer;
mod passwords;
mod payments;
mod permissions;
mod ps;
mod refusals;
mod releases;
mod replica;
mod router;
mod schedules;
pub mod sessions;
mod signup;
mod ssh_keys;
pub mod stacks;
mod stats;
mod usage;

use std::error::Error;
use std::time::Duration;

use super::domain::Invalid;
use super::store::StoreError;

pub use allowance::Allowance;
pub use crowd::{Crowd, Place};

/// Why an action was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum ActionError {
    /// The request says something that cannot be.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Nobody is signed in, or not with these credentials.
    #[error("{0}")]
    Unauthorized(Invalid),
    /// The password was right, and a second factor is needed too.
    #[error("a multi-factor authentication token is needed")]
    SecondFactorNeeded,
    /// Signed in, but not allowed; never used where the thing's existence is a secret: that is `NotFound`.
    #[error("{0}")]
    Forbidden(Invalid),
    /// It is right by itself but not in the present state of things.
    #[error("{0}")]
    Conflict(Invalid),
    /// There is no such thing, or it is another person's. The text says what was looked for.
    #[error("{0}")]
    NotFound(String),
    /// Asked too often.
    #[error("too many attempts; try again in {} second(s)", retry_after.as_secs())]
    TooMany {
        /// When it may be asked again, whole seconds, at least one.
        retry_after: Duration,
    },
    /// Asked too often, for good; the text says how to begin anew.
    #[error("{0}")]
    Exhausted(String),
    /// It cannot be done now, through no fault of the asker; the text says what to do.
    #[error("{0}")]
    Unavailable(String),
    /// A defect or a broken machine. The door logs the cause and tells only that it happened.
    #[error("internal error")]
    Internal(#[source] Box<dyn Error + Send + Sync>),
}

impl ActionError {
    /// A refusal of `field`, see [`Invalid`].
    pub fn invalid(field: &'static str, message: impl Into<String>) -> Self {
        Self::Invalid(Invalid::new(field, message))
    }

    /// Something broke that should not.
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Internal(cause.into())
    }
}

/// A missing row is `NotFound`; where the asker should read more than "not found", the action maps it itself.
impl From<StoreError> for ActionError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::NotFound("not found".into()),
            StoreError::Closed => Self::Unavailable("the server is stopping; try again in a moment".into()),
            other => Self::internal(other),
        }
    }
}
