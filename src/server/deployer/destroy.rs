//! The end of an app. Visitors first, then the replicas, the rows last: killed in between, the next server goes on.

use futures_util::future::try_join_all;

use crate::server::domain::{App, AppId};
use crate::server::progress::Progress;
use crate::server::steps;
use crate::server::store::Kind;

use super::{DeployError, Deployer};

impl Deployer {
    /// Ends every replica of the app and forgets it. Returns when nothing of it is left here; its repository, its log
    /// and its build cache are other rooms'. Nobody's visit is waited for.
    pub async fn destroy(&self, app: AppId, by: String) -> Result<(), DeployError> {
        let silent = Progress::silent();
        self.in_turn(app, &silent, move |this, app| async move {
            match this
                .0
                .rooms
                .releases
                .begin_without_release(app.id, Kind::Destroy, &by)
                .await
                .map_err(DeployError::from)
            {
                // It is this app's turn, so what has not ended is an earlier try: this one goes on with it.
                Ok(_) | Err(DeployError::Busy) => {}
                Err(error) => return Err(error),
            }
            tracing::info!(app.name = %app.name, by, "Destroying an app.");
            this.finish_destroying(&app).await
        })
        .await
    }

    pub(super) async fn finish_destroying(&self, app: &App) -> Result<(), DeployError> {
        let rooms = &self.0.rooms;
        steps::reached("destroy.started");
        self.0.fleet.remove_app(&app.name);
        rooms.jobs.forget_app(app.id, &app.name).await?;
        let all = rooms.store.all_workloads().await?;
        let generations = all.iter().filter(|stored| stored.app == app.id);
        try_join_all(generations.map(|stored| rooms.runtime.remove(&stored.id, self.0.settings.grace))).await?;
        rooms.store.delete_app(app.id).await?;
        self.0.queue.forget(app.id);
        steps::reached("destroy.finished");
        Ok(())
    }
}
