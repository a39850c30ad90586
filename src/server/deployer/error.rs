use std::time::Duration;

use crate::server::domain::{Invalid, JobEnd, JobId, Refusal};
use crate::server::hot::PlanError;
use crate::server::jobs::JobError;
use crate::server::releases::ReleaseError;
use crate::server::runtime::RuntimeError;
use crate::server::store::StoreError;

use super::{RolloutFailure, UpgradeFailure};

/// Why a change was not made. The app is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The app is not there (any more).
    #[error("there is no such app")]
    NotFound,
    /// Too many changes wait already, or the app is being destroyed.
    #[error("the app is busy with earlier changes: try again later")]
    Busy,
    /// The person who waited has gone.
    #[error("cancelled")]
    Cancelled,
    /// The server is stopping.
    #[error("the server was stopped meanwhile: look at `gigalixir releases` and try again")]
    Interrupted,
    /// What was asked for cannot be.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The new replicas did not become healthy; `messages.rs` tells it at length.
    #[error("{}", super::messages::reason(.0))]
    Unhealthy(Box<RolloutFailure>),
    /// It cannot be brought to running nodes; `messages.rs` tells it at length.
    #[error("{}", super::messages::not_hot(.0))]
    NotHot(Vec<Refusal>),
    /// A node, or the rehearsal, did not take the upgrade; `messages.rs` tells it at length.
    #[error("{}", .0.reason())]
    Upgrade(Box<UpgradeFailure>),
    /// The two releases could not be compared.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The release phase failed; `messages.rs` tells it at length.
    #[error("{}", super::messages::phase_reason(.0))]
    ReleasePhase(Box<PhaseFailure>),
    /// A job's refusal.
    #[error(transparent)]
    Job(JobError),
    /// What was pushed could not be kept.
    #[error("{0}")]
    Source(String),
    /// There is no such release, or it cannot be had.
    #[error(transparent)]
    Release(ReleaseError),
    /// The runtime's refusal.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The database's refusal.
    #[error(transparent)]
    Store(StoreError),
}

/// A release phase that failed: facts for `messages.rs`.
#[derive(Debug, Clone, PartialEq)]
pub struct PhaseFailure {
    /// Its job.
    pub job: JobId,
    /// How it ended.
    pub end: JobEnd,
    /// How long it was given.
    pub limit: Duration,
    /// Why, if it never ran.
    pub detail: Option<String>,
    /// The last lines it wrote, oldest first.
    pub last_lines: Vec<String>,
}

impl From<JobError> for DeployError {
    fn from(error: JobError) -> Self {
        match error {
            JobError::Invalid(invalid) => Self::Invalid(invalid),
            JobError::Release(error) => error.into(),
            JobError::Store(error) => error.into(),
            other => Self::Job(other),
        }
    }
}

impl From<StoreError> for DeployError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::NotFound,
            // An operation of the app has not ended, and it is not one that waits in our queue.
            StoreError::Taken => Self::Busy,
            other => Self::Store(other),
        }
    }
}

impl From<ReleaseError> for DeployError {
    fn from(error: ReleaseError) -> Self {
        match error {
            ReleaseError::Store(error) => error.into(),
            other => Self::Release(other),
        }
    }
}
