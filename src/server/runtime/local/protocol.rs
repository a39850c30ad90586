//! What server and shim say to each other over the socket: one JSON value a line, and as little as possible. State and
//! output lie on disk as well, so a word that is lost with a connection is lost to nobody.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::server::domain::Exit;

/// From the shim.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Word {
    /// How things are; the first word on every connection.
    State(State),
    /// There is new output in the folder.
    Output,
}

/// From the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Order {
    /// End: SIGTERM, after `grace` SIGKILL, free all, answer [`Phase::Stopped`].
    Stop {
        /// How long it may take.
        grace: Duration,
    },
}

/// How a replica is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) phase: Phase,
    /// The port it was given; changes when somebody else took it between two runs.
    pub(super) port: u16,
    /// When the present run began.
    pub(super) started_at: Option<Timestamp>,
    /// How often it was started anew.
    pub(super) restarts: u32,
    /// How the last run ended.
    pub(super) last_exit: Option<Exit>,
}

/// What a shim is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    /// Unpacking.
    Making,
    /// The process runs.
    Running,
    /// It ended by itself and will be started anew.
    Waiting,
    /// It was told to end.
    Stopping,
    /// It ran once and has ended. The shim keeps the news until it is told to go.
    Ended,
    /// It has ended and all is freed. The shim leaves.
    Stopped,
}
