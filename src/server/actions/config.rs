//! Configuration variables. Every change is a release, so it can be rolled back.

use std::collections::BTreeMap;

use super::ActionError;
use super::access::Action;
use super::apps::Apps;
use crate::api::app::{SetConfigs, UnsetConfig};
use crate::server::deployer::Effect;
use crate::server::domain::{App, User};

/// Name → value.
pub(super) type Vars = BTreeMap<String, String>;

impl Apps {
    /// The app's variables.
    pub async fn config(&self, user: &User, name: &str) -> Result<Vars, ActionError> {
        let app = self.may(user, name, Action::ReadConfig).await?;
        self.vars(&app).await
    }

    /// Lays variables over those that are set; answers with all.
    pub async fn set_config(&self, user: &User, name: &str, wish: SetConfigs) -> Result<Vars, ActionError> {
        let app = self.may(user, name, Action::Configure).await?;
        let (changes, effect) = match wish {
            SetConfigs { configs: Some(configs), avoid_restart, hot, .. } => (configs, effect(avoid_restart, hot)),
            // The clients of 2017, whose users were told that setting does not restart.
            SetConfigs { key: Some(key), value: Some(value), .. } => (Vars::from([(key, value)]), Effect::Later),
            _ => return Err(ActionError::invalid("configs", "can't be blank")),
        };
        self.change(&app, user, changes, effect).await
    }

    /// Forgets variables; answers with the rest. One that is not set is no error.
    pub async fn unset_config(&self, user: &User, name: &str, wish: UnsetConfig) -> Result<Vars, ActionError> {
        let app = self.may(user, name, Action::Configure).await?;
        let names: Vec<String> = wish.key.into_iter().chain(wish.keys).collect();
        if names.is_empty() {
            return Err(ActionError::invalid("key", "can't be blank"));
        }
        let effect = effect(wish.avoid_restart, wish.hot);
        self.rooms.deployer.unset_config(app.id, names, effect, user.email.to_string()).await?;
        self.vars(&app).await
    }

    /// Lays another app's variables over this one's.
    pub async fn copy_config(&self, user: &User, name: &str, from: &str) -> Result<Vars, ActionError> {
        let app = self.may(user, name, Action::Configure).await?;
        let from = self.may(user, from, Action::ReadConfig).await?;
        let changes = self.vars(&from).await?;
        self.change(&app, user, changes, Effect::Restart).await
    }

    async fn change(&self, app: &App, user: &User, changes: Vars, effect: Effect) -> Result<Vars, ActionError> {
        if !changes.is_empty() {
            self.rooms.deployer.set_config(app.id, changes, effect, user.email.to_string()).await?;
        }
        self.vars(app).await
    }

    async fn vars(&self, app: &App) -> Result<Vars, ActionError> {
        Ok(self.rooms.releases.config(app.id).await?.as_map().clone())
    }
}

fn effect(avoid_restart: bool, hot: bool) -> Effect {
    match (avoid_restart, hot) {
        (_, true) => Effect::Hot,
        (true, false) => Effect::Later,
        (false, false) => Effect::Restart,
    }
}
