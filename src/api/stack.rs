//! Stacks: what apps are built on and run in.

use serde::{Deserialize, Serialize};

/// An entry of `GET /api/stacks`.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// Its name, for `stack:set` and `create --stack`.
    pub name: String,
    /// Whether new apps that do not say get this one.
    pub default: bool,
    /// The images it stands for; none where it is the platform's own machine.
    pub images: Vec<StackImage>,
    /// What an operator types to get the images, or newer ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The apps that one may see and whose next build is on it.
    pub apps: Vec<String>,
}

/// An image of a stack.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackImage {
    /// `run` or `build`.
    pub purpose: String,
    /// As a registry knows it.
    pub reference: String,
    /// `ready`, `missing` (it is pulled, or has to be made), or `unknown` (Docker does not answer).
    pub state: String,
    /// The one that is used, until the operator says otherwise: the registry's digest, or Docker's for one made here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Its bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}
