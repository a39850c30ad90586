//! The end of an app: replicas and rows first (the deployer), then its repository, build cache and log. Its slugs go with
//! the next sweep.
//!
//! Its name is not free before all of it is gone. A server killed in between clears up at its next start
//! ([`Apps::tidy`]), and whoever creates an app of that name before that begins with nothing ([`Apps::create`]).

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ActionError;
use super::access::Action;
use super::apps::Apps;
use crate::server::deployer::DeployError;
use crate::server::domain::{App, AppName, Email, User};

/// The names of apps that are being destroyed.
#[derive(Debug, Clone, Default)]
pub(super) struct Leaving(Arc<Mutex<HashSet<AppName>>>);

impl Leaving {
    pub(super) fn contains(&self, name: &AppName) -> bool {
        self.lock().contains(name)
    }

    /// Keeps the name until the guard is dropped; `None` if somebody is at it already.
    fn hold(&self, name: &AppName) -> Option<Held> {
        self.lock().insert(name.clone()).then(|| Held { of: self.clone(), name: name.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<AppName>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Held {
    of: Leaving,
    name: AppName,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.of.lock().remove(&self.name);
    }
}

impl Apps {
    /// Destroys an app, to the end even if the asker goes away.
    pub async fn destroy(self: &Arc<Self>, user: &User, name: &str) -> Result<(), ActionError> {
        let app = self.may(user, name, Action::Destroy).await?;
        let Some(held) = self.leaving.hold(&app.name) else {
            return Err(ActionError::Unavailable("the app is being destroyed already".into()));
        };
        let (apps, by) = (self.clone(), user.email.clone());
        let work = tokio::spawn(async move {
            let _name = held;
            apps.end(&app, &by).await
        });
        work.await.map_err(ActionError::internal)?
    }

    async fn end(&self, app: &App, by: &Email) -> Result<(), ActionError> {
        match self.rooms.deployer.destroy(app.id, by.to_string()).await {
            Ok(()) | Err(DeployError::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
        self.rooms.drains.forget(app.id);
        self.rooms.tls.forget_app(app.id);
        self.rooms.repositories.remove(&app.name).await.map_err(ActionError::internal)?;
        self.rooms.logs.remove(&app.name).await;
        tracing::info!(app.name = %app.name, user.email = %by, "app destroyed");
        Ok(())
    }

    /// At start, before anybody can ask for anything: finishes what a killed server had begun. Every app has a
    /// repository, and nothing is left of apps that are no more.
    pub async fn tidy(&self) -> Result<(), ActionError> {
        let apps = self.rooms.store.all_apps().await?;
        let there: HashSet<&AppName> = apps.iter().map(|app| &app.name).collect();
        for name in self.rooms.repositories.list().await.map_err(ActionError::internal)? {
            if !there.contains(&name) {
                self.rooms.repositories.remove(&name).await.map_err(ActionError::internal)?;
            }
        }
        for name in self.rooms.logs.apps().await.map_err(ActionError::internal)? {
            if !there.contains(&name) {
                self.rooms.logs.remove(&name).await;
            }
        }
        for name in there {
            self.rooms.repositories.create(name).await.map_err(ActionError::internal)?;
        }
        Ok(())
    }
}
