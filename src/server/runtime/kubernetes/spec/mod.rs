//! What the cluster is told: pure, and held by snapshots.

mod app;
mod build;
mod ingress;
mod pod;

pub(super) use app::{AppObjects, Scripts};
pub(super) use build::BuildObjects;
pub(super) use ingress::PLATFORM;
pub(super) use pod::{PORT, Place, deployment, linger, once, start};

#[cfg(test)]
mod tests;
