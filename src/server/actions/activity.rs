//! What was done to an app, and by whom.

use super::ActionError;
use super::access::Action;
use super::apps::Apps;
use crate::api;
use crate::server::domain::User;

impl Apps {
    /// What was done to the app, newest first.
    pub async fn activity(&self, user: &User, name: &str) -> Result<Vec<api::app::Activity>, ActionError> {
        let app = self.may(user, name, Action::See).await?;
        let shown = |done: crate::server::store::Activity| api::app::Activity {
            kind: done.kind,
            summary: done.summary,
            created_by: done.by,
            created_at: done.at.to_string(),
        };
        Ok(self.rooms.store.activity(app.id).await?.into_iter().map(shown).collect())
    }
}
