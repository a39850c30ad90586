//! Other rooms' errors as refusals of an action.

use super::ActionError;
use crate::server::deployer::{DeployError, messages};
use crate::server::domain::Invalid;
use crate::server::hot::PlanError;
use crate::server::jobs::JobError;
use crate::server::releases::ReleaseError;
use crate::server::runtime::RuntimeError;

impl From<DeployError> for ActionError {
    fn from(error: DeployError) -> Self {
        let text = error.to_string();
        match error {
            DeployError::NotFound => Self::NotFound(text),
            DeployError::Busy => Self::Conflict(Invalid::new("", text)),
            DeployError::Cancelled | DeployError::Interrupted => Self::Unavailable(text),
            DeployError::Invalid(why) => Self::Invalid(why),
            DeployError::Unhealthy(_) | DeployError::ReleasePhase(_) => {
                Self::invalid("", messages::explain_change(&error).trim_end())
            }
            DeployError::NotHot(_) | DeployError::Upgrade(_) => Self::invalid("", messages::explain(&error).trim_end()),
            DeployError::Plan(PlanError::Failed(_)) => Self::invalid("", text),
            DeployError::Plan(PlanError::Cancelled) => Self::Unavailable(text),
            DeployError::Plan(_) => Self::internal(error),
            DeployError::Job(error) => error.into(),
            DeployError::Source(_) => Self::internal(error),
            DeployError::Release(error) => error.into(),
            DeployError::Runtime(RuntimeError::Unavailable(text)) => Self::Unavailable(text),
            DeployError::Runtime(error) => Self::internal(error),
            DeployError::Store(error) => error.into(),
        }
    }
}

impl From<JobError> for ActionError {
    fn from(error: JobError) -> Self {
        let text = error.to_string();
        match error {
            JobError::NoCode => Self::invalid("", text),
            JobError::Full(_) | JobError::Crowded(_) => Self::Exhausted(text),
            JobError::NoRunner(_) => Self::Unavailable(text),
            JobError::NotFound => Self::NotFound(text),
            JobError::Invalid(why) => Self::Invalid(why),
            JobError::Release(error) => error.into(),
            JobError::Runtime(error) => error.into(),
            JobError::Store(error) => error.into(),
        }
    }
}

impl From<ReleaseError> for ActionError {
    fn from(error: ReleaseError) -> Self {
        let text = error.to_string();
        match error {
            ReleaseError::NoSuchRelease => Self::NotFound(text),
            ReleaseError::NothingBefore | ReleaseError::NoCode(_) | ReleaseError::Swept(_) => Self::invalid("", text),
            ReleaseError::Store(error) => error.into(),
            ReleaseError::Sealed(_) => Self::internal(error),
        }
    }
}
