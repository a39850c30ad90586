//! A line on its way from an instance to the logs.

use tokio::sync::mpsc;

use crate::server::domain::{LogLine, WorkloadId};

/// Where the instances' lines go.
pub type Lines = mpsc::Sender<Spoken>;

/// What is to be done when a line is kept, and so is all that went before it. Undone if it never is.
pub type Kept = Box<dyn FnOnce() + Send>;

/// A line, and whose it is.
pub struct Spoken {
    /// The instance's generation.
    pub workload: WorkloadId,
    /// The line.
    pub line: LogLine,
    /// How who handed it on learns that it need not be handed on again.
    pub kept: Option<Kept>,
}

impl Spoken {
    /// A line that nobody will ask after.
    pub fn new(workload: WorkloadId, line: LogLine) -> Self {
        Self { workload, line, kept: None }
    }
}
