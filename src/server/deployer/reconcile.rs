//! Holds reality to the database: at the start, at every tick, and after every failure that was left for later. What
//! serves is applied, what drains is ended, what nobody knows is removed.

use std::collections::BTreeSet;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::server::runtime::InstanceEvent;
use crate::server::store::WorkloadState;

use super::fleet::has_crashed;
use super::{DeployError, Deployer};

impl Deployer {
    /// Begins to follow the runtime. Returns when it is known what is ready: from then on the table is true. Bringing
    /// the rest in order goes on in the background. Call after [`Self::recover`].
    pub async fn start(&self) -> Result<(), DeployError> {
        // Subscribed before listing: what happens in between is heard twice, not missed.
        let events = self.0.rooms.runtime.watch();
        self.0.fleet.observe_all(self.0.rooms.runtime.instances().await?);
        let (follower, reconciler) = (self.clone(), self.clone());
        tokio::spawn(async move { follower.follow(events).await });
        tokio::spawn(async move { reconciler.reconcile_for_ever().await });
        self.settle_upgrades().await
    }

    async fn follow(&self, mut events: Receiver<InstanceEvent>) {
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                () = self.0.stop.cancelled() => return,
            };
            match event {
                Ok(event) => self.observe(&event),
                Err(RecvError::Lagged(_)) => match self.0.rooms.runtime.instances().await {
                    Ok(all) => self.0.fleet.observe_all(all),
                    Err(error) => tracing::error!(error = %error, "The runtime's instances could not be listed."),
                },
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn observe(&self, event: &InstanceEvent) {
        let before = self.0.fleet.observe(event);
        if let InstanceEvent::Changed(now) = event
            && has_crashed(before.as_ref(), now)
        {
            // The app's log has it from the runtime, which knows when it will be started again.
            let app = &now.workload.app;
            tracing::warn!(app.name = %app, instance.name = now.name, restarts = now.restarts, "A replica ended by itself.");
        }
    }

    async fn reconcile_for_ever(&self) {
        let mut ticks = tokio::time::interval(self.0.settings.reconcile);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.0.stop.cancelled() => return,
            }
            if let Err(error) = self.reconcile().await {
                tracing::error!(error = %error, "Reconciling failed; it will be tried again.");
            }
        }
    }

    /// Once round. What rises is left to its rollout.
    async fn reconcile(&self) -> Result<(), DeployError> {
        for (app, id, state) in self.0.fleet.standing() {
            match state {
                WorkloadState::Serving => self.settle_later(id),
                WorkloadState::Draining => self.retire_later(app, id),
                WorkloadState::Rising => {}
            }
        }
        // Listed first and looked up then: what was made meanwhile is known, for it is known before it is made.
        let instances = self.0.rooms.runtime.instances().await?;
        let strangers: BTreeSet<_> = instances.into_iter().map(|instance| instance.workload).collect();
        for id in strangers.into_iter().filter(|id| !self.0.fleet.knows(id) && !self.0.rooms.jobs.knows(id)) {
            tracing::warn!(workload = %id, "Removing replicas that the database does not know.");
            self.0.rooms.runtime.remove(&id, self.0.settings.grace).await?;
        }
        Ok(())
    }
}
