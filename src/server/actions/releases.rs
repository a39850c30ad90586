//! Releases: listing them, going back to one.

use super::ActionError;
use super::access::Action;
use super::apps::Apps;
use crate::api;
use crate::server::domain::{Release, User};
use crate::server::releases::Target;

impl Apps {
    /// Every release, newest first.
    pub async fn releases(&self, user: &User, name: &str) -> Result<Vec<api::release::Release>, ActionError> {
        let app = self.may(user, name, Action::See).await?;
        Ok(self.rooms.releases.list(app.id).await?.into_iter().map(shown).collect())
    }

    /// One release: `latest`, a version or a rollback id.
    pub async fn release(&self, user: &User, name: &str, which: &str) -> Result<api::release::Release, ActionError> {
        let releases = self.releases(user, name).await?;
        let wanted = |release: &api::release::Release| {
            which == "latest"
                || which.strip_prefix('v').unwrap_or(which) == release.version.to_string()
                || which == release.rollback_id
        };
        releases.into_iter().find(wanted).ok_or_else(unknown)
    }

    /// Makes a new release of what an older one ran with: `previous`, a version or a rollback id.
    pub async fn rollback(&self, user: &User, name: &str, which: &str) -> Result<(), ActionError> {
        let app = self.may(user, name, Action::RollBack).await?;
        let target = match which {
            "previous" => Target::Previous,
            _ => Target::parse(which).ok_or_else(unknown)?,
        };
        self.rooms.deployer.rollback(app.id, target, user.email.to_string()).await?;
        Ok(())
    }
}

fn unknown() -> ActionError {
    ActionError::NotFound("there is no such release; `gigalixir releases` lists them".into())
}

fn shown(release: Release) -> api::release::Release {
    let slug = release.slug.as_ref();
    api::release::Release {
        version: release.version.0,
        rollback_id: release.rollback_id.to_string(),
        sha: slug.map(|slug| slug.sha.clone()),
        summary: release.summary,
        created_by: release.created_by,
        created_at: release.created_at.to_string(),
        customer_app_name: slug.and_then(|slug| slug.customer_app_name.clone()),
        customer_app_version: slug.and_then(|slug| slug.customer_app_version.clone()),
        state: release.state.as_str().into(),
        slug_url: "<REDACTED>".into(),
    }
}
