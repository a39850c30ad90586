//! From one runtime to another, without a rebuild and without a moment in which nobody serves: what should be is told to
//! the new one, and each generation is taken from the old one when all of it is ready in the new one.
//!
//! Names, generations and slugs stay the same, so nobody above notices more than a change of addresses. When nothing is
//! left in the old one it is an idle companion; the next start leaves it out.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::broadcast::{self, error::RecvError};

use super::session::{Command, Session, Stream};
use super::{InstanceEvent, Load, Runtime, RuntimeError};
use crate::server::domain::{Instance, InstanceState, Machine, Workload, WorkloadId};

const EVENTS: usize = 1024;
/// For a replica that has visitors when its successor is ready: as on a deploy, the deployer's grace is not known here.
const GRACE: Duration = Duration::from_secs(30);

/// A runtime that is being moved into, and the one that is being left.
pub struct Moving {
    to: Arc<dyn Runtime>,
    from: Arc<dyn Runtime>,
    events: broadcast::Sender<InstanceEvent>,
}

impl Moving {
    /// Begins to move; nothing happens before [`Runtime::apply`] says what should be.
    pub fn begin(to: Arc<dyn Runtime>, from: Arc<dyn Runtime>) -> Arc<Self> {
        let moving = Arc::new(Self { to, from, events: broadcast::Sender::new(EVENTS) });
        for runtime in [&moving.to, &moving.from] {
            tokio::spawn(pass_on(runtime.clone(), moving.events.clone()));
        }
        moving
    }

    /// Takes a generation from the old runtime once the new one has it whole; on its way until then.
    fn hand_over_later(&self, workload: Workload) {
        let (to, from) = (self.to.clone(), self.from.clone());
        tokio::spawn(async move {
            // Subscribed before listing: nothing is missed in between.
            let mut events = to.watch();
            loop {
                match whole(to.as_ref(), &workload).await {
                    Ok(true) => break,
                    Ok(false) => {}
                    Err(error) => tracing::error!(workload = %workload.id, "moving it: {error}"),
                }
                if matches!(events.recv().await, Err(RecvError::Closed)) {
                    return;
                }
            }
            tracing::info!(workload = %workload.id, runtime = to.name(), "Moved.");
            if let Err(error) = from.remove(&workload.id, GRACE).await {
                tracing::error!(workload = %workload.id, "it runs twice, the old one cannot be ended: {error}");
            }
        });
    }

    async fn of(&self, instance: &str) -> &Arc<dyn Runtime> {
        let old = self.from.instances().await.unwrap_or_default();
        if old.iter().any(|one| one.name == instance) { &self.from } else { &self.to }
    }
}

async fn whole(runtime: &dyn Runtime, workload: &Workload) -> Result<bool, RuntimeError> {
    let ready = runtime.instances().await?;
    let ready = ready.iter().filter(|one| one.workload == workload.id && one.state == InstanceState::Ready);
    Ok(ready.count() >= workload.replicas as usize)
}

async fn pass_on(runtime: Arc<dyn Runtime>, events: broadcast::Sender<InstanceEvent>) {
    let mut heard = runtime.watch();
    loop {
        match heard.recv().await {
            Ok(event) => drop(events.send(event)),
            // Who listens is told how all are now, and finds out what is gone when it lists.
            Err(RecvError::Lagged(_)) => {
                for instance in runtime.instances().await.unwrap_or_default() {
                    let _ = events.send(InstanceEvent::Changed(instance));
                }
            }
            Err(RecvError::Closed) => return,
        }
    }
}

#[async_trait]
impl Runtime for Moving {
    fn name(&self) -> &'static str {
        self.to.name()
    }

    async fn apply(&self, workload: &Workload) -> Result<(), RuntimeError> {
        self.to.apply(workload).await?;
        if self.from.instances().await?.iter().any(|one| one.workload == workload.id) {
            self.hand_over_later(workload.clone());
        }
        Ok(())
    }

    async fn remove(&self, id: &WorkloadId, grace: Duration) -> Result<(), RuntimeError> {
        let (new, old) = tokio::join!(self.to.remove(id, grace), self.from.remove(id, grace));
        new.and(old)
    }

    async fn replace(&self, id: &WorkloadId, name: &str, grace: Duration) -> Result<bool, RuntimeError> {
        Ok(self.to.replace(id, name, grace).await? || self.from.replace(id, name, grace).await?)
    }

    async fn instances(&self) -> Result<Vec<Instance>, RuntimeError> {
        let mut all = self.to.instances().await?;
        all.extend(self.from.instances().await?);
        Ok(all)
    }

    async fn exec(&self, instance: &str, command: Command) -> Result<Session, RuntimeError> {
        self.of(instance).await.exec(instance, command).await
    }

    async fn connect(&self, instance: &str, port: u16) -> Result<Box<dyn Stream>, RuntimeError> {
        self.of(instance).await.connect(instance, port).await
    }

    async fn load(&self, instance: &str) -> Result<Option<Load>, RuntimeError> {
        self.of(instance).await.load(instance).await
    }

    /// The old ones too, as long as something is on them.
    async fn machines(&self) -> Result<Vec<Machine>, RuntimeError> {
        let (mut all, left) = (self.to.machines().await?, self.from.machines().await?);
        let old = self.from.instances().await?;
        for machine in left {
            let used = old.iter().any(|one| one.machine.as_ref() == Some(&machine.name));
            if used && all.iter().all(|known| known.name != machine.name) {
                all.push(machine);
            }
        }
        Ok(all)
    }

    fn watch(&self) -> broadcast::Receiver<InstanceEvent> {
        self.events.subscribe()
    }
}
