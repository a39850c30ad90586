//! One binary, two halves that meet only in [`api`]: the client that a person types, and the platform it talks to.
#![doc = include_str!("ARCHITECTURE.md")]

pub mod api;
pub mod cli;
pub mod client;
#[cfg(feature = "server")]
pub mod server;
