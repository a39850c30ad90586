//! What visitors meet before the replicas: further hosts, the maintenance page, a canary, rules. The database first, then the table at
//! once: no replica is touched, and no operation that is under way is waited for.

use std::future::Future;

use crate::server::domain::{App, AppName, Hostname, Rules};
use crate::server::store::{Store, StoreError};

use super::Deployer;

impl Deployer {
    /// Leads visitors of a further host to the app; errors as [`Store::add_domain`].
    pub async fn add_domain(&self, app: &App, host: Hostname, most: usize, by: String) -> Result<(), StoreError> {
        let id = app.id;
        self.change_front(app, move |store| async move { store.add_domain(id, host, most, by).await }).await
    }

    /// Leads them there no longer; errors as [`Store::remove_domain`].
    pub async fn remove_domain(&self, app: &App, host: Hostname, by: String) -> Result<(), StoreError> {
        let id = app.id;
        self.change_front(app, move |store| async move { store.remove_domain(id, host, by).await }).await
    }

    /// Shows visitors the maintenance page, or the app again.
    pub async fn set_maintenance(&self, app: &App, on: bool, by: String) -> Result<(), StoreError> {
        let id = app.id;
        self.change_front(app, move |store| async move { store.set_maintenance(id, on, by).await }).await
    }

    /// Sends some of the app's visitors to another app.
    pub async fn set_canary(&self, app: &App, canary: &App, weight: u8, by: String) -> Result<(), StoreError> {
        let (id, canary) = (app.id, canary.id);
        self.change_front(app, move |store| async move { store.set_canary(id, canary, weight, by).await }).await
    }

    /// Sends them all to the app itself; errors as [`Store::remove_canary`].
    pub async fn remove_canary(&self, app: &App, canary: AppName, by: String) -> Result<(), StoreError> {
        let id = app.id;
        self.change_front(app, move |store| async move { store.remove_canary(id, canary, by).await }).await
    }

    /// Holds visitors' requests to other rules, and tells which those are: of two changes at once neither is lost.
    pub async fn change_rules(
        &self,
        app: &App,
        change: impl FnOnce(&mut Rules) + Send + 'static,
        summary: String,
        by: String,
    ) -> Result<Rules, StoreError> {
        let id = app.id;
        let write = move |store: Store| async move {
            let mut rules = Rules::clone(&store.front(id).await?.rules);
            change(&mut rules);
            store.set_rules(id, rules.clone(), summary, by).await?;
            Ok(rules)
        };
        self.change_front(app, write).await
    }

    /// To the end even if the caller goes away, one at a time: what is published is what is stored, in that order.
    async fn change_front<T, F, Fut>(&self, app: &App, write: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(Store) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, StoreError>> + Send,
    {
        let (this, id, name) = (self.clone(), app.id, app.name.clone());
        let task = self.0.operations.spawn(async move {
            let _one_at_a_time = this.0.fronts.lock().await;
            let store = &this.0.rooms.store;
            let written = write(store.clone()).await?;
            this.0.fleet.set_front(id, &name, store.front(id).await?);
            Ok(written)
        });
        task.await.map_err(|_| StoreError::Closed)?
    }
}
