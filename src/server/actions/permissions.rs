//! Roles in an app: who has one, giving one, taking it away. What a role may do is in `access.rs`.

use super::ActionError;
use super::access::Action;
use super::apps::Apps;
use crate::api::access::{Grant, People};
use crate::server::domain::{Email, Role, User};
use crate::server::store::StoreError;

impl Apps {
    /// Everybody with a role in the app.
    pub async fn people(&self, user: &User, name: &str) -> Result<People, ActionError> {
        let app = self.may(user, name, Action::See).await?;
        let owner = self.rooms.store.user(app.owner).await?.ok_or(StoreError::NotFound)?;
        let people = self.rooms.store.people(app.id).await?;
        let with = |wanted: Role| {
            people.iter().filter(|(_, role)| *role == wanted).map(|(email, _)| email.to_string()).collect()
        };
        let (collaborators, viewers) = (with(Role::Collaborator), with(Role::Viewer));
        Ok(People { owner: owner.email.to_string(), collaborators, viewers })
    }

    /// Gives somebody with an account a role, or another one than before.
    pub async fn grant(&self, user: &User, name: &str, wish: Grant) -> Result<(), ActionError> {
        let app = self.may(user, name, Action::Share).await?;
        let email = Email::parse(&wish.email)?;
        let role = wish.role.as_deref().map_or(Ok(Role::Collaborator), Role::parse)?;
        let Some((who, _)) = self.rooms.store.user_by_email(&email).await? else {
            return Err(ActionError::invalid("email", "has no account here: they have to sign up first"));
        };
        if who.id == app.owner {
            return Err(ActionError::invalid("email", "is the owner's, who may do everything already"));
        }
        let most = self.settings.people_per_app;
        let granted = self.rooms.store.grant(app.id, &who, role, most, user.email.to_string()).await;
        granted.map_err(|error| match error {
            StoreError::Full => {
                let text = format!("is one too many: {most} people may have access, take it from somebody first");
                ActionError::invalid("email", text)
            }
            other => other.into(),
        })?;
        self.rooms.logs.platform(&app.name, format!("Access given to {email} by {}", user.email));
        Ok(())
    }

    /// Takes somebody's role away. The owner may; and everybody may give up their own.
    pub async fn revoke(&self, user: &User, name: &str, email: &str) -> Result<(), ActionError> {
        let email = Email::parse(email);
        let own = email.as_ref().is_ok_and(|email| *email == user.email);
        let app = self.may(user, name, if own { Action::See } else { Action::Share }).await?;
        let email = email?;
        let unknown = || {
            let text = format!("{email} has no role in `{}` to take away; `gigalixir access` lists who has", app.name);
            ActionError::NotFound(text)
        };
        let revoked = self.rooms.store.revoke(app.id, &email, user.email.to_string()).await;
        revoked.map_err(|error| match error {
            StoreError::NotFound => unknown(),
            other => other.into(),
        })?;
        self.rooms.logs.platform(&app.name, format!("Access taken from {email} by {}", user.email));
        Ok(())
    }
}
