//! The wire: the JSON bodies that client and server exchange, in the shapes that Gigalixir's clients know.
//!
//! A leaf: it imports nothing of ours, so a field here is a promise to every client in the field. Success is
//! `{"data": …}`, failure `{"errors": {"field": ["message", …]}}` with `""` as the field of general errors. Messages
//! read as suffixes of their field ("has invalid format").

pub mod access;
pub mod account;
pub mod app;
pub mod canary;
pub mod cert;
pub mod domain;
pub mod drain;
pub mod inside;
pub mod job;
pub mod log;
pub mod machine;
pub mod mfa;
pub mod observer;
pub mod release;
pub mod replica;
pub mod router;
pub mod ssh;
pub mod ssh_key;
pub mod stack;
pub mod usage;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The envelope of every successful answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Data<T> {
    /// The answer itself.
    pub data: T,
}

/// An answer that only says what happened.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Message {
    /// A sentence.
    pub message: String,
}

impl Message {
    /// That sentence.
    pub fn new(message: &str) -> Self {
        Self { message: message.to_owned() }
    }
}

/// The envelope of every refusal: messages by field, `""` for general ones.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Errors {
    /// Field name → messages.
    pub errors: BTreeMap<String, Vec<String>>,
}
