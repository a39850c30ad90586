//! What the cluster is told: pure, and held by snapshots.

mod app;
mod pod;

pub(super) use app::{AppObjects, Scripts};
pub(super) use pod::{PORT, Place, deployment, once, start};

#[cfg(test)]
mod tests;
