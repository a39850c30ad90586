//! Log drains: where an app's log is sent besides.

use super::ActionError;
use super::access::Action;
use super::apps::Apps;
use crate::api;
use crate::api::drain::DrainId;
use crate::server::domain::User;
use crate::server::drains::{Drain, DrainError};
use crate::server::store::StoreError;

impl Apps {
    /// The app's drains, oldest first. An address may hold a password, so not everybody sees all of it.
    pub async fn drains(&self, user: &User, name: &str) -> Result<Vec<api::drain::Drain>, ActionError> {
        let app = self.may(user, name, Action::See).await?;
        let whole = self.may(user, name, Action::Drain).await.is_ok();
        let drains = self.rooms.drains.list(app.id).await.map_err(refused)?;
        Ok(drains.into_iter().map(|drain| shown(drain, whole)).collect())
    }

    /// Sends what the app says from now on to another machine too.
    pub async fn add_drain(&self, user: &User, name: &str, url: &str) -> Result<api::drain::Drain, ActionError> {
        let app = self.may(user, name, Action::Drain).await?;
        let added = self.rooms.drains.add(&app, url, user.email.to_string()).await;
        let drain = added.map_err(|error| match error {
            DrainError::Store(StoreError::Full) => {
                let most = self.settings.drains_per_app;
                ActionError::invalid("url", format!("is one too many: an app may have {most} drains, remove one first"))
            }
            other => refused(other),
        })?;
        self.rooms.logs.platform(&app.name, format!("Drain {} to {} added by {}", drain.id, drain.target, user.email));
        Ok(shown(drain, true))
    }

    /// Sends it there no longer.
    pub async fn remove_drain(&self, user: &User, name: &str, id: &DrainId) -> Result<(), ActionError> {
        let app = self.may(user, name, Action::Drain).await?;
        let id = match id {
            DrainId::Text(text) => text.trim().parse().ok(),
            DrainId::Number(number) => Some(*number),
        };
        let unknown =
            || ActionError::NotFound(format!("`{}` has no drain of that id; `gigalixir drains` lists them", app.name));
        let id = id.ok_or_else(unknown)?;
        let removed = self.rooms.drains.remove(&app, id, user.email.to_string()).await;
        removed.map_err(|error| match error {
            DrainError::Store(StoreError::NotFound) => unknown(),
            other => refused(other),
        })?;
        self.rooms.logs.platform(&app.name, format!("Drain {id} removed by {}", user.email));
        Ok(())
    }
}

fn shown(drain: Drain, whole: bool) -> api::drain::Drain {
    let (last_error, at) = drain.last_error.unzip();
    api::drain::Drain {
        id: drain.id.to_string(),
        token: drain.token,
        url: if whole { drain.target.as_str().to_owned() } else { drain.target.to_string() },
        delivered: drain.delivered,
        dropped: drain.dropped,
        last_error,
        last_error_at: at.map(|at| at.to_string()),
    }
}

fn refused(error: DrainError) -> ActionError {
    match error {
        DrainError::Invalid(why) => why.into(),
        DrainError::Store(error) => error.into(),
        DrainError::Broken(_) => ActionError::internal(error),
    }
}
