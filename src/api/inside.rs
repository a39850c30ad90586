//! Getting into a running replica over the API: two WebSockets, and what Gigalixir's own tools ask for.
//!
//! `GET /api/apps/A/exec` runs a program beside the app. The client's first message is text, an [`Exec`]; then come
//! [`Typed`] as text and input as binary. The server answers with [`Told`] as text, and output as binary messages whose
//! first byte says which stream ([`OUTPUT`], [`ERRORS`]); the last text tells how the program ended.
//!
//! `GET /api/apps/A/tunnel?port=N` is a connection to a port of the replica: binary messages both ways, an empty one
//! being the end of that direction.
//!
//! `GET /api/apps/A/run` is `exec` in a job's fresh replica; its first message is an [`Attend`](super::job::Attend).
//!
//! Messages hold at most [`PIECE`] bytes. There is no window: who does not read holds up who writes, by TCP.

use serde::{Deserialize, Serialize};

/// Most bytes of data in one message.
pub const PIECE: usize = 64 * 1024;
/// First byte of a message with standard output (or all that a terminal says).
pub const OUTPUT: u8 = 1;
/// First byte of a message with standard error.
pub const ERRORS: u8 = 2;

/// What shall run.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Exec {
    /// The program and its arguments; empty for a login shell.
    #[serde(default)]
    pub command: Vec<String>,
    /// A replica's name or `web.2`; any healthy one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<String>,
    /// With a terminal, of this kind and size; else with three pipes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<Terminal>,
}

/// A terminal.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Terminal {
    /// Its `TERM`.
    pub term: String,
    /// Characters in a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

/// From the client, beside input.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Typed {
    /// The end of input.
    Eof,
    /// The terminal has another size now.
    Resize {
        /// Characters in a line.
        columns: u16,
        /// Lines.
        rows: u16,
    },
    /// A signal, by its number on Linux, for the program and its group.
    Signal(i32),
}

/// From the server, beside output.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// It is this job, which may have to wait for its turn. Only for jobs, and before all others.
    Job(i64),
    /// It runs, in this replica.
    Started(String),
    /// It ended by itself, with this code; the last message.
    Exited(i32),
    /// It ended by this signal; the last message.
    Signaled(i32),
    /// It could not be run, or was ended, for this reason; the last message.
    Failed(String),
}

/// The query of a tunnel.
#[cfg_attr(feature = "server", derive(utoipa::IntoParams))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TunnelQuery {
    /// The port, on the replica's own loopback.
    pub port: u16,
    /// A replica's name or `web.2`; any healthy one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<String>,
}

/// The query of `releases/migrate-command`.
#[cfg_attr(feature = "server", derive(utoipa::IntoParams))]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct MigrateQuery {
    /// The application that has the repos; the release's own if absent.
    pub migration_app_name: Option<String>,
}

/// What an observer has evaluated in the node it will connect to.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ObserverCommands {
    /// Tells the cookie.
    pub get_cookie: String,
    /// Tells the node's name.
    pub get_node_name: String,
}
