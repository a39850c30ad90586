//! A runtime without processes, for tests: it honours what the port documents, and its instances do what the first word
//! of their command says.
//!
//! - `serve`: ready at once;  `hang`: starts and never is ready;  `crash`: ends with code 1 before it was ready. What runs
//!   once ends by that for good, and with code 0 by `done`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::broadcast;

use crate::server::domain::{Exit, ExitReason, Instance, InstanceState, Lifetime, Machine, Workload, WorkloadId};

use super::session::{Command, Session, Stream};
use super::{InstanceEvent, Runtime, RuntimeError};

/// The runtime; it lives on when a "server" over it ends.
#[derive(Debug)]
pub(crate) struct Memory {
    instances: Mutex<BTreeMap<(WorkloadId, u32), Instance>>,
    events: broadcast::Sender<InstanceEvent>,
    ports: AtomicU16,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self { instances: Mutex::default(), events: broadcast::Sender::new(1024), ports: AtomicU16::new(10_000) }
    }

    /// The instance ends by itself and is not started again.
    pub(crate) fn crash(&self, name: &str) {
        self.alter(name, |instance| {
            instance.state = InstanceState::Crashed;
            instance.restarts += 1;
            instance.last_exit = Some(ended());
        });
    }

    /// It is ready, or ready again.
    pub(crate) fn become_ready(&self, name: &str) {
        self.alter(name, |instance| instance.state = InstanceState::Ready);
    }

    fn alter(&self, name: &str, change: impl FnOnce(&mut Instance)) {
        let mut instances = self.lock();
        let instance = instances.values_mut().find(|instance| instance.name == name).unwrap();
        change(instance);
        self.tell(InstanceEvent::Changed(instance.clone()));
    }

    fn start(&self, workload: &Workload, index: u32) -> Instance {
        let port = self.ports.fetch_add(1, Ordering::Relaxed);
        let mut instance = Instance {
            name: format!("{}-{index}", workload.id),
            workload: workload.id.clone(),
            release: workload.release,
            size: workload.size,
            index,
            state: InstanceState::Starting,
            address: Some(SocketAddr::from(([127, 0, 0, 1], port))),
            node: None,
            machine: Some("memory".to_owned()),
            restarts: 0,
            started_at: Some(Timestamp::now()),
            last_exit: None,
            trouble: None,
        };
        self.tell(InstanceEvent::Changed(instance.clone()));
        let word = workload.arguments.first().map_or(workload.command.as_str(), String::as_str).split(' ').next();
        let once = workload.lifetime != Lifetime::Service;
        match word {
            Some(word @ ("crash" | "done")) if once => {
                let (code, reason) = if word == "done" { (0, ExitReason::Completed) } else { (1, ExitReason::Error) };
                instance.state = InstanceState::Ended;
                instance.last_exit = Some(Exit { code, reason, at: Timestamp::now() });
            }
            Some("serve") => instance.state = InstanceState::Ready,
            Some("crash") => {
                instance.state = InstanceState::Crashed;
                instance.last_exit = Some(ended());
            }
            _ => return instance,
        }
        self.tell(InstanceEvent::Changed(instance.clone()));
        instance
    }

    fn tell(&self, event: InstanceEvent) {
        // Nobody may be listening: a server that has ended.
        let _ = self.events.send(event);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(WorkloadId, u32), Instance>> {
        self.instances.lock().unwrap()
    }
}

fn ended() -> Exit {
    Exit { code: 1, reason: ExitReason::Error, at: Timestamp::now() }
}

#[async_trait]
impl Runtime for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    async fn apply(&self, workload: &Workload) -> Result<(), RuntimeError> {
        // Real ones wait for a disk here.
        tokio::task::yield_now().await;
        let mut instances = self.lock();
        for index in 1..=workload.replicas {
            let key = (workload.id.clone(), index);
            instances.entry(key).or_insert_with(|| self.start(workload, index));
        }
        for instance in
            instances.values_mut().filter(|one| one.workload == workload.id && one.release != workload.release)
        {
            instance.release = workload.release;
            self.tell(InstanceEvent::Changed(instance.clone()));
        }
        let surplus: Vec<_> =
            instances.keys().filter(|(id, index)| *id == workload.id && *index > workload.replicas).cloned().collect();
        for key in surplus.into_iter().rev() {
            if let Some(gone) = instances.remove(&key) {
                self.tell(InstanceEvent::Gone(gone));
            }
        }
        Ok(())
    }

    async fn remove(&self, id: &WorkloadId, _grace: Duration) -> Result<(), RuntimeError> {
        tokio::task::yield_now().await;
        let mut instances = self.lock();
        let keys: Vec<_> = instances.keys().filter(|(of, _)| of == id).cloned().collect();
        for key in keys {
            if let Some(gone) = instances.remove(&key) {
                self.tell(InstanceEvent::Gone(gone));
            }
        }
        Ok(())
    }

    async fn replace(&self, id: &WorkloadId, name: &str, _grace: Duration) -> Result<bool, RuntimeError> {
        tokio::task::yield_now().await;
        let mut instances = self.lock();
        let Some(instance) = instances.values_mut().find(|one| one.workload == *id && one.name == name) else {
            return Ok(false);
        };
        if instance.state == InstanceState::Ended {
            return Ok(false);
        }
        self.tell(InstanceEvent::Gone(instance.clone()));
        let port = self.ports.fetch_add(1, Ordering::Relaxed);
        instance.name = format!("{name}-again");
        instance.address = Some(SocketAddr::from(([127, 0, 0, 1], port)));
        self.tell(InstanceEvent::Changed(instance.clone()));
        Ok(true)
    }

    async fn instances(&self) -> Result<Vec<Instance>, RuntimeError> {
        Ok(self.lock().values().cloned().collect())
    }

    async fn exec(&self, instance: &str, _command: Command) -> Result<Session, RuntimeError> {
        Err(RuntimeError::NotRunning(instance.to_owned()))
    }

    async fn connect(&self, instance: &str, _port: u16) -> Result<Box<dyn Stream>, RuntimeError> {
        Err(RuntimeError::NotRunning(instance.to_owned()))
    }

    async fn machines(&self) -> Result<Vec<Machine>, RuntimeError> {
        Ok(vec![Machine { name: "memory".to_owned(), ..super::machine::this_one([]) }])
    }

    fn watch(&self) -> broadcast::Receiver<InstanceEvent> {
        self.events.subscribe()
    }
}
