//! What all replicas of one server have in common.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::roster::Roster;
use super::super::{Directory, SlugSource};
use super::dist_ports::DistPorts;
use super::slots::Slots;
use crate::server::confine::cgroup::Cgroups;

pub(super) struct Shared {
    /// The program that has the shim in it.
    pub(super) program: PathBuf,
    pub(super) cgroups: Option<Cgroups>,
    pub(super) slugs: Arc<dyn SlugSource>,
    pub(super) slots: Slots,
    pub(super) dist_ports: DistPorts,
    /// Where replicas ask who else there is of their app.
    pub(super) directory: Option<Directory>,
    pub(super) roster: Roster,
    /// Every task of this server's.
    pub(super) tasks: TaskTracker,
    /// Ends the sessions.
    pub(super) closing: CancellationToken,
}
