//! The instances of a runtime as they are known, and who is told of changes.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::broadcast;

use super::{InstanceEvent, Lines, RuntimeError, Spoken};
use crate::server::domain::{Instance, InstanceState, LogLine, LogSource, WorkloadId};

const EVENTS: usize = 1024;

/// The roster.
pub(super) struct Roster {
    events: broadcast::Sender<InstanceEvent>,
    instances: Mutex<BTreeMap<String, Instance>>,
    /// Where the apps' lines go.
    pub(super) logs: Lines,
}

impl Roster {
    pub(super) fn new(logs: Lines) -> Self {
        Self { events: broadcast::Sender::new(EVENTS), instances: Mutex::default(), logs }
    }

    /// Every change from now on.
    pub(super) fn watch(&self) -> broadcast::Receiver<InstanceEvent> {
        self.events.subscribe()
    }

    /// Makes an instance known as it is now.
    pub(super) fn changed(&self, instance: &Instance) {
        self.instances().insert(instance.name.clone(), instance.clone());
        // Nobody listening is nobody's loss.
        let _ = self.events.send(InstanceEvent::Changed(instance.clone()));
    }

    /// Whether there is an instance of that name.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.instances().contains_key(name)
    }

    pub(super) fn gone(&self, instance: Instance) {
        self.instances().remove(&instance.name);
        let _ = self.events.send(InstanceEvent::Gone(instance));
    }

    pub(super) fn instances(&self) -> MutexGuard<'_, BTreeMap<String, Instance>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every instance, as it is now.
    pub(super) fn all(&self) -> Vec<Instance> {
        self.instances().values().cloned().collect()
    }

    /// One that can be entered; between two runs there is nothing to enter.
    pub(super) fn running(&self, name: &str) -> Result<Instance, RuntimeError> {
        let instances = self.instances();
        let running = instances.get(name).filter(|one| one.state != InstanceState::Crashed);
        running.cloned().ok_or_else(|| RuntimeError::NotRunning(name.to_owned()))
    }

    /// A line of the platform in an app's log; lost if the log cannot keep up.
    pub(super) fn say(&self, workload: &WorkloadId, text: String) {
        let line = LogLine { at: Timestamp::now(), source: LogSource::Platform, text };
        let _ = self.logs.try_send(Spoken::new(workload.clone(), line));
    }
}
