//! After a start, however the last server ended: what was not committed has failed, what was committed is true.

use crate::server::domain::AppName;
use crate::server::store::{Kind, Operation, OperationId, PushRef};

use super::{DeployError, Deployer};

/// What a start found.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Pushes that were deployed and whose ref may not have moved: move it (again does no harm), then say
    /// [`Deployer::ref_moved`].
    pub refs: Vec<RefToMove>,
    /// Operations that were undone.
    pub undone: usize,
}

/// A ref that has to point at what is live.
#[derive(Debug, Clone)]
pub struct RefToMove {
    /// In whose repository.
    pub app: AppName,
    /// Which ref, and where to.
    pub push: PushRef,
    /// The operation to end then.
    pub operation: OperationId,
}

impl Deployer {
    /// Learns from the database what should be, and settles what the last server left open. Starts and ends no
    /// replica: that is [`Self::start`]'s. Call it once, before anything else.
    pub async fn recover(&self) -> Result<Recovered, DeployError> {
        let rooms = &self.0.rooms;
        let open = rooms.store.open_operations().await?;
        let mut recovered = Recovered::default();
        for operation in open.iter().filter(|operation| !operation.committed && operation.kind != Kind::Destroy) {
            tracing::warn!(app.name = %operation.app_name, operation = operation.kind.as_str(), "Undoing what was cut off.");
            rooms.store.fail(operation).await?;
            recovered.undone += 1;
        }
        rooms.store.forget_unreleased_slugs(None).await?;
        self.load().await?;
        for operation in open {
            if operation.committed {
                let Operation { app_name: app, push, id, .. } = operation;
                recovered.refs.extend(push.map(|push| RefToMove { app, push, operation: id }));
            } else if operation.kind == Kind::Destroy {
                self.destroy_later(operation);
            }
        }
        Ok(recovered)
    }

    async fn load(&self) -> Result<(), DeployError> {
        let rooms = &self.0.rooms;
        let apps = rooms.store.all_apps().await?;
        for app in &apps {
            let live = rooms.store.live_release(app.id).await?;
            self.0.fleet.add_app(app.id, &app.name, live.is_some_and(|release| release.slug.is_some()));
        }
        for app in &apps {
            self.0.fleet.set_front(app.id, &app.name, rooms.store.front(app.id).await?);
        }
        for stored in rooms.store.all_workloads().await? {
            self.0.fleet.add(rooms.releases.open_workload(&stored)?, stored.state);
        }
        Ok(())
    }

    fn destroy_later(&self, operation: Operation) {
        let this = self.clone();
        self.0.operations.spawn(async move {
            let outcome = async {
                let app = this.0.rooms.store.app_by_id(operation.app).await?;
                this.finish_destroying(&app).await
            };
            if let Err(error) = outcome.await {
                tracing::error!(app.name = %operation.app_name, error = %error, "An app could not be destroyed; the next start tries again.");
            }
        });
    }
}
