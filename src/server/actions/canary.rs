//! Canaries: a part of an app's visitors goes to another app, on all of its hosts. The other's own hosts stay as they
//! are, and nothing is deployed or restarted.

use super::ActionError;
use super::access::Action;
use super::apps::Apps;
use crate::api::canary::{Canary, SetCanary};
use crate::server::domain::{AppName, User};
use crate::server::store::StoreError;

impl Apps {
    /// The app's canary, as a list of one or none.
    pub async fn canaries(&self, user: &User, name: &str) -> Result<Vec<Canary>, ActionError> {
        let app = self.may(user, name, Action::See).await?;
        let canary = self.rooms.store.front(app.id).await?.canary;
        Ok(canary.map(|canary| Canary { canary: canary.app.into(), weight: canary.weight }).into_iter().collect())
    }

    /// Sends a part of the visitors to another app of the person's, or changes the part.
    pub async fn set_canary(&self, user: &User, name: &str, wish: SetCanary) -> Result<Vec<Canary>, ActionError> {
        let app = self.may(user, name, Action::Divide).await?;
        let present = self.rooms.store.front(app.id).await?.canary;
        let weight = match (wish.weight, &present) {
            (Some(weight), _) => weight,
            (None, Some(present)) => i64::from(present.weight),
            (None, None) => return Err(ActionError::invalid("weight", "can't be blank: percent of the visitors")),
        };
        let weight = u8::try_from(weight).ok().filter(|weight| *weight <= 100);
        let weight = weight.ok_or_else(|| ActionError::invalid("weight", "should be 0 to 100 (percent)"))?;
        let other = wish.canary.or_else(|| present.map(|present| present.app.into()));
        let other =
            other.ok_or_else(|| ActionError::invalid("canary", "can't be blank: the app that gets visitors"))?;
        let canary = self.may(user, &other, Action::Divide).await?;
        if canary.id == app.id {
            return Err(ActionError::invalid("canary", "should be another app"));
        }
        self.rooms.deployer.set_canary(&app, &canary, weight, user.email.to_string()).await?;
        self.rooms.logs.platform(&app.name, format!("{weight} % of the visitors sent to {other} by {}", user.email));
        self.canaries(user, name).await
    }

    /// Sends all visitors to the app itself again.
    pub async fn remove_canary(&self, user: &User, name: &str, other: &str) -> Result<(), ActionError> {
        let app = self.may(user, name, Action::Divide).await?;
        let unknown = || {
            let text =
                format!("`{}` is no canary of `{}`; `gigalixir canary` lists it", other.escape_debug(), app.name);
            ActionError::NotFound(text)
        };
        let canary = AppName::parse(other).map_err(|_| unknown())?;
        let removed = self.rooms.deployer.remove_canary(&app, canary, user.email.to_string()).await;
        removed.map_err(|error| match error {
            StoreError::NotFound => unknown(),
            other => other.into(),
        })?;
        self.rooms.logs.platform(&app.name, format!("Canary {other} removed by {}", user.email));
        Ok(())
    }
}
