use crate::server::domain::Invalid;
use crate::server::releases::ReleaseError;
use crate::server::runtime::RuntimeError;
use crate::server::store::StoreError;

/// Why a job was refused.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// Nothing to run it with.
    #[error("there is no code yet: push first")]
    NoCode,
    /// As many wait as may.
    #[error("{0} jobs of this app wait already, as many as may: try again when some have ended")]
    Full(u32),
    /// As many runners are there as may be.
    #[error("{0} runners of this app are there already, as many as may be (`jobs.runners`)")]
    Crowded(usize),
    /// A runner ended before the app could be told of it.
    #[error("the runner ended before it began: {0}")]
    NoRunner(String),
    /// There is no such job, or no such app (any more).
    #[error("there is no such job; `gigalixir jobs` lists them")]
    NotFound,
    /// What was asked for cannot be.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Code or config cannot be had.
    #[error(transparent)]
    Release(ReleaseError),
    /// The machine's refusal.
    #[error(transparent)]
    Runtime(RuntimeError),
    /// The database's refusal.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for JobError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::NotFound,
            other => Self::Store(other),
        }
    }
}

impl From<ReleaseError> for JobError {
    fn from(error: ReleaseError) -> Self {
        match error {
            ReleaseError::Store(error) => error.into(),
            other => Self::Release(other),
        }
    }
}
