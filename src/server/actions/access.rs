//! Who may do what to an app: the one table of roles and actions. Every verb of [`Apps`] begins with [`Apps::may`].
//!
//! Invariant: to somebody without a role an app is answered exactly as one that does not exist.

use super::ActionError;
use super::apps::Apps;
use crate::server::domain::{App, AppName, Invalid, Role, User};
use crate::server::store::StoreError;

/// What can be done to an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Looking at all that is no secret: replicas, releases, logs, activity, domains, people.
    See,
    /// Fetching what was pushed.
    Fetch,
    /// Reading the values of variables.
    ReadConfig,
    /// Running programs in its replicas, and reaching their ports.
    Enter,
    /// Setting and unsetting variables.
    Configure,
    /// Deploying by `git push`.
    Push,
    /// Going back to an earlier release.
    RollBack,
    /// Changing counts and size.
    Scale,
    /// Starting replicas anew.
    Restart,
    /// Another Erlang cookie.
    Rekey,
    /// Looking into its nodes, secrets in their memory included.
    Observe,
    /// Ending one replica, for a new one.
    Kill,
    /// Running commands with its code and config, now or by a schedule, and stopping them.
    RunJobs,
    /// Changing what the next build is built on.
    SetStack,
    /// Adding and removing custom domains.
    Route,
    /// Deciding what holds for visitors' requests.
    Rule,
    /// Adding, removing and renewing certificates.
    Certify,
    /// Sending visitors from or to another app.
    Divide,
    /// Adding and removing log drains, and seeing the whole address of one.
    Drain,
    /// Maintenance mode.
    Maintain,
    /// Giving and taking roles.
    Share,
    /// Changing the name.
    Rename,
    /// The end of the app.
    Destroy,
}

impl Action {
    /// The least role that may, and the action in words.
    fn rule(self) -> (Role, &'static str) {
        match self {
            Self::See => (Role::Viewer, "look at it"),
            Self::Fetch => (Role::Viewer, "fetch its code"),
            Self::ReadConfig => (Role::Collaborator, "read its variables"),
            Self::Enter => (Role::Collaborator, "enter its replicas"),
            Self::Configure => (Role::Collaborator, "change its variables"),
            Self::Push => (Role::Collaborator, "deploy it"),
            Self::RollBack => (Role::Collaborator, "roll it back"),
            Self::Scale => (Role::Collaborator, "scale it"),
            Self::Restart => (Role::Collaborator, "restart it"),
            Self::Rekey => (Role::Collaborator, "give it another cookie"),
            Self::Observe => (Role::Collaborator, "observe its nodes"),
            Self::Kill => (Role::Collaborator, "kill its replicas"),
            Self::RunJobs => (Role::Collaborator, "run jobs of it"),
            Self::SetStack => (Role::Collaborator, "change its stack"),
            Self::Route => (Role::Collaborator, "change its domains"),
            Self::Rule => (Role::Collaborator, "change what holds for its visitors"),
            Self::Certify => (Role::Collaborator, "change its certificates"),
            Self::Divide => (Role::Collaborator, "send visitors to or from it"),
            Self::Drain => (Role::Collaborator, "change where its log is sent"),
            Self::Maintain => (Role::Collaborator, "switch its maintenance mode"),
            Self::Share => (Role::Owner, "change who has access to it"),
            Self::Rename => (Role::Owner, "rename it"),
            Self::Destroy => (Role::Owner, "destroy it"),
        }
    }
}

impl Apps {
    /// The app of that name, if the person may do this to it.
    pub(super) async fn may(&self, user: &User, name: &str, action: Action) -> Result<App, ActionError> {
        let unknown = || {
            ActionError::NotFound(format!(
                "there is no app `{}` of yours; `gigalixir apps` lists them",
                name.escape_debug()
            ))
        };
        let parsed = AppName::parse(name).map_err(|_| unknown())?;
        let app = match self.rooms.store.app_by_name(&parsed).await {
            Ok(app) => app,
            Err(StoreError::NotFound) => return Err(unknown()),
            Err(error) => return Err(error.into()),
        };
        let role = match app.owner == user.id {
            true => Role::Owner,
            false => self.rooms.store.role(app.id, user.id).await?.ok_or_else(unknown)?,
        };
        let (least, words) = action.rule();
        if role < least {
            let text = format!(
                "your role in `{}` is {}: to {words} takes {}; ask its owner",
                app.name,
                role.as_str(),
                least.as_str()
            );
            return Err(ActionError::Forbidden(Invalid::new("", text)));
        }
        Ok(app)
    }

    /// The name of an app that the person may fetch from, or push to; for doors that lead past the API (git).
    pub async fn admit(&self, user: &User, name: &str, push: bool) -> Result<AppName, ActionError> {
        let action = if push { Action::Push } else { Action::Fetch };
        Ok(self.may(user, name, action).await?.name)
    }
}
