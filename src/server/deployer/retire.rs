//! The quiet endings: a replaced generation drains and is removed, a generation that has too many replicas loses them.
//! Both are wishes in the database, so both are taken up again by whoever reconciles next.

use futures_util::future::join_all;

use crate::server::domain::{AppId, Backend, WorkloadId};
use crate::server::steps;

use super::{DeployError, Deployer};

impl Deployer {
    pub(super) fn retire_later(&self, app: AppId, id: WorkloadId) {
        let this = self.clone();
        tokio::spawn(async move { this.retire(app, &id).await });
    }

    pub(super) fn settle_later(&self, id: WorkloadId) {
        let this = self.clone();
        tokio::spawn(async move { this.settle(&id).await });
    }

    /// Ends a draining generation once its visitors have left. One at a time does it; what fails is tried again when
    /// reconciling.
    pub(super) async fn retire(&self, app: AppId, id: &WorkloadId) {
        if !self.0.fleet.claim_retiring(id) {
            return;
        }
        let outcome = tokio::select! {
            outcome = self.end(app, id) => outcome,
            () = self.0.stop.cancelled() => return,
        };
        if let Err(error) = outcome {
            self.0.fleet.unclaim_retiring(id);
            tracing::error!(workload = %id, error = %error, "An old generation could not be removed; it will be tried again.");
        }
    }

    async fn end(&self, app: AppId, id: &WorkloadId) -> Result<(), DeployError> {
        self.drain(self.0.fleet.backends(id)).await;
        steps::reached("deploy.drained");
        self.0.rooms.runtime.remove(id, self.0.settings.grace).await?;
        self.0.rooms.store.forget_workload(app, id).await?;
        self.0.fleet.forget(id);
        steps::reached("deploy.finished");
        Ok(())
    }

    /// Tells the runtime how many replicas a serving generation shall have. Those that are too many lose their visitors
    /// first; a wish that changes meanwhile is told again, and one that ended meanwhile leaves nothing behind.
    pub(super) async fn settle(&self, id: &WorkloadId) {
        while let Some(wish) = self.0.fleet.wish(id) {
            let wished = |this: &Self| this.0.fleet.wish(id).map(|now| now.workload.replicas);
            let replicas = wish.workload.replicas;
            let apply = async {
                self.drain(wish.surplus).await;
                // A wish that has become another meanwhile must not be undone by this one.
                if wished(self) == Some(replicas) { self.0.rooms.runtime.apply(&wish.workload).await } else { Ok(()) }
            };
            let outcome = tokio::select! {
                outcome = apply => outcome,
                () = self.0.stop.cancelled() => return,
            };
            if let Err(error) = outcome {
                tracing::error!(workload = %id, error = %error, "A workload could not be applied; it will be tried again.");
                return;
            }
            if wished(self) == Some(replicas) {
                return;
            }
        }
        // It may have been ended while it was being applied: what came up after that is nobody's.
        if !self.0.fleet.knows(id)
            && let Err(error) = self.0.rooms.runtime.remove(id, self.0.settings.grace).await
        {
            tracing::error!(workload = %id, error = %error, "A removed workload came back; it will be removed again.");
        }
    }

    /// Waits until no visitor is on these backends, as long as is allowed.
    async fn drain(&self, backends: Vec<Backend>) {
        let all = join_all(backends.into_iter().map(|backend| self.0.rooms.drains.drained(backend)));
        // Whoever is still there after that long is cut off: a stream that never ends must not keep an old release up.
        let _ = tokio::time::timeout(self.0.settings.drain, all).await;
    }
}
