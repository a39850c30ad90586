//! What all replicas of one server have in common.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::{broadcast, mpsc};
use tokio_util::task::TaskTracker;

use super::super::{InstanceEvent, SlugSource};
use super::directory::Directory;
use super::dist_ports::DistPorts;
use super::slots::Slots;
use crate::server::confine::cgroup::Cgroups;
use crate::server::domain::{AppName, Instance, LogLine, LogSource};

pub(super) struct Shared {
    /// The program that has the shim in it.
    pub(super) program: PathBuf,
    pub(super) cgroups: Option<Cgroups>,
    pub(super) slugs: Arc<dyn SlugSource>,
    pub(super) logs: mpsc::Sender<(AppName, LogLine)>,
    pub(super) slots: Slots,
    pub(super) dist_ports: DistPorts,
    /// Where replicas ask who else there is of their app.
    pub(super) directory: Option<Directory>,
    pub(super) events: broadcast::Sender<InstanceEvent>,
    pub(super) instances: Mutex<BTreeMap<String, Instance>>,
    /// Every task of this server's.
    pub(super) tasks: TaskTracker,
}

impl Shared {
    /// Makes an instance known as it is now.
    pub(super) fn changed(&self, instance: &Instance) {
        self.instances().insert(instance.name.clone(), instance.clone());
        // Nobody listening is nobody's loss.
        let _ = self.events.send(InstanceEvent::Changed(instance.clone()));
    }

    pub(super) fn gone(&self, instance: Instance) {
        self.instances().remove(&instance.name);
        let _ = self.events.send(InstanceEvent::Gone(instance));
    }

    pub(super) fn instances(&self) -> MutexGuard<'_, BTreeMap<String, Instance>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line of the platform in an app's log; lost if the log cannot keep up.
    pub(super) fn say(&self, app: &AppName, text: String) {
        let line = LogLine { at: Timestamp::now(), source: LogSource::Platform, text };
        let _ = self.logs.try_send((app.clone(), line));
    }
}
