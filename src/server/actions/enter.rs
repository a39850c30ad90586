//! Entering a replica: programs beside the app's own process, connections to its ports. For doors that let people stay
//! longer than one request: ssh, and the API's WebSockets.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::access::Action;
use super::account::ShownKey;
use super::apps::Apps;
use super::{ActionError, Place};
use crate::api;
use crate::server::config::SshAddress;
use crate::server::domain::{App, Instance, InstanceState, Invalid, User, UserId};
use crate::server::runtime::RuntimeError;
use crate::server::runtime::session::{Command, Session, Stream};

/// What a person gets who names no program: what sshd gives, a login shell. It reads `/etc/profile` and the app's own
/// `.profile`, and then has what that took away again: the app's `PATH`, in front.
const LOGIN: &str = r#"exec /bin/bash -l -c 'PATH="$0:$PATH"; exec /bin/bash' "$PATH""#;

/// The program for who names none.
pub fn login_shell() -> Vec<String> {
    ["/bin/bash", "-c", LOGIN].map(str::to_owned).to_vec()
}

/// Somebody's place in one replica; all that is done through it is done there.
#[derive(Debug, Clone)]
pub struct Entrance {
    /// Who.
    pub user: User,
    /// Whose replica.
    pub app: App,
    /// Which, as it was when it was chosen.
    pub instance: Instance,
}

impl Apps {
    /// Chooses a replica: the one called `replica` (a pod's name, `web.2`, or a process type), else any; a healthy one
    /// of the newest release before all others.
    pub async fn enter(&self, user: &User, app: &str, replica: Option<&str>) -> Result<Entrance, ActionError> {
        let app = self.may(user, app, Action::Enter).await?;
        let all = self.rooms.deployer.status(&app.name);
        // A job's replica is entered only by who names it.
        let meant = |instance: &&Instance| match replica {
            Some(name) => is_called(instance, name),
            None => !self.rooms.jobs.knows(&instance.workload),
        };
        let open = all.iter().filter(meant);
        match best(open) {
            Some(instance) => Ok(Entrance { user: user.clone(), instance: instance.clone(), app }),
            None => Err(ActionError::Unavailable(nobody_there(&app, replica))),
        }
    }

    /// Whether the person may come in at all; a door that cannot say it later asks first.
    pub async fn may_enter(&self, user: &User, name: &str) -> Result<(), ActionError> {
        self.may(user, name, Action::Enter).await.map(drop)
    }

    /// A place for one more visit of the person over the API; free again when dropped.
    pub fn take_place(&self, user: &User) -> Result<Place<UserId>, ActionError> {
        self.visits.enter(user.id).ok_or_else(|| {
            let most = self.settings.sessions_per_account;
            let text =
                format!("your account has {most} consoles and tunnels open, as many as it may: close some first");
            ActionError::Exhausted(text)
        })
    }

    /// What `ssh` is to be given after `root@` (as Gigalixir's own client does) or by itself, options and all.
    pub async fn ssh_address(&self, user: &User, name: &str) -> Result<api::ssh::SshAddress, ActionError> {
        let app = self.may(user, name, Action::Enter).await?;
        let SshAddress { host, port } = &self.settings.ssh;
        Ok(api::ssh::SshAddress { ssh_ip: format!("{}@{host} -p {port}", app.name) })
    }

    /// Wakes whenever somebody may have lost access to something; see [`Apps::may_stay`].
    pub fn access_changes(&self) -> watch::Receiver<()> {
        self.rooms.store.access_changes()
    }

    /// Whether the person may still be in the app.
    pub async fn may_stay(&self, entrance: &Entrance) -> Result<(), ActionError> {
        let app = self.may(&entrance.user, entrance.app.name.as_str(), Action::Enter).await?;
        match app.id == entrance.app.id {
            true => Ok(()),
            false => Err(ActionError::NotFound(format!("the app `{}` is no more", app.name))),
        }
    }

    /// Whether an API key still is one.
    pub async fn still_holds(&self, key: &ShownKey) -> Result<(), ActionError> {
        match self.rooms.store.user_by_key(key.hash).await? {
            Some(_) => Ok(()),
            None => {
                let why = "the API key that you came with is no more; run `gigalixir login` again";
                Err(ActionError::Unauthorized(Invalid::new("", why)))
            }
        }
    }

    /// Returns when the person may not look at the app any more, or when the API key that they came with is no more: for
    /// what is told as it comes.
    pub async fn unseen(self: Arc<Self>, user: User, app: String, key: ShownKey) {
        let mut access = self.access_changes();
        while self.still_holds(&key).await.is_ok() && self.may(&user, &app, Action::See).await.is_ok() {
            // The sender lives in the store, which outlives every answer.
            if access.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Starts a program there.
    pub async fn exec(&self, entrance: &Entrance, command: Command) -> Result<Session, ActionError> {
        Ok(self.rooms.deployer.runtime().exec(&entrance.instance.name, command).await?)
    }

    /// Connects to a port there.
    pub async fn connect(&self, entrance: &Entrance, port: u16) -> Result<Box<dyn Stream>, ActionError> {
        Ok(self.rooms.deployer.runtime().connect(&entrance.instance.name, port).await?)
    }

    /// Tells the app's log that somebody has come; `how` is a word such as `ssh`.
    pub fn entered(&self, entrance: &Entrance, how: &str) {
        let text = format!("{} entered {} by {how}", entrance.user.email, entrance.instance.name);
        self.rooms.logs.platform(&entrance.app.name, text);
    }

    /// Tells the log and records for good that somebody has left; `what` says what was done there.
    pub async fn left(&self, entrance: &Entrance, how: &str, stay: Duration, what: &str) -> Result<(), ActionError> {
        let (user, name, seconds) = (&entrance.user.email, &entrance.instance.name, stay.as_secs());
        let text = format!("{user} left {name} after {seconds} s by {how} ({what})");
        self.rooms.logs.platform(&entrance.app.name, text);
        let summary = format!("Enter {name} by {how} for {seconds} s ({what}).");
        Ok(self.rooms.store.record_visit(entrance.app.id, summary, user.to_string()).await?)
    }
}

fn is_called(instance: &Instance, name: &str) -> bool {
    name == instance.name || name == instance.workload.process.as_str() || is_numbered(instance, name)
}

fn is_numbered(instance: &Instance, name: &str) -> bool {
    name == format!("{}.{}", instance.workload.process.as_str(), instance.index)
}

/// The best of those that `name`, such as `web.2`, means: one that is being replaced has its successor's number too.
pub(super) fn numbered<'a>(all: &'a [Instance], name: &str) -> Option<&'a Instance> {
    let meant = || all.iter().filter(|instance| is_numbered(instance, name));
    best(meant()).or_else(|| meant().next())
}

/// Any of the best: ready before starting, then newer before older, then `web` before other processes.
fn best<'a>(all: impl Iterator<Item = &'a Instance>) -> Option<&'a Instance> {
    let worth = |instance: &Instance| match instance.state {
        InstanceState::Ready => Some((2, instance.release, instance.workload.process.is_web())),
        InstanceState::Starting => Some((1, instance.release, instance.workload.process.is_web())),
        InstanceState::Crashed | InstanceState::Stopping | InstanceState::Ended => None,
    };
    let all: Vec<_> = all.filter_map(|instance| Some((worth(instance)?, instance))).collect();
    let highest = all.iter().map(|(worth, _)| *worth).max()?;
    let equals: Vec<_> = all.into_iter().filter(|(worth, _)| *worth == highest).collect();
    equals.get(rand::random_range(0..equals.len())).map(|(_, instance)| *instance)
}

fn nobody_there(app: &App, replica: Option<&str>) -> String {
    let app = &app.name;
    match replica {
        Some(name) => format!("no replica `{}` of `{app}` is running; `gigalixir ps` lists them", name.escape_debug()),
        None => format!("no replica of `{app}` is running; `gigalixir ps` says more, `gigalixir ps:scale` starts some"),
    }
}

impl From<RuntimeError> for ActionError {
    fn from(error: RuntimeError) -> Self {
        match error {
            RuntimeError::Unavailable(text) => Self::Unavailable(text),
            RuntimeError::NotRunning(_) => {
                Self::Unavailable(format!("{error}: it has ended; `gigalixir ps` says more"))
            }
            RuntimeError::Io { ref context, ref source } => Self::Unavailable(format!("{context}: {source}")),
            RuntimeError::SlugMissing(_) => Self::internal(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::domain::{AppName, ProcessType, ReleaseVersion, Size, WorkloadId};

    fn instance(name: &str, process: &str, release: u64, index: u32, state: InstanceState) -> Instance {
        let app = AppName::parse("hill").unwrap();
        let process = ProcessType::parse(process).unwrap();
        Instance {
            name: name.to_owned(),
            workload: WorkloadId { app, process, generation: release as i64 },
            release: ReleaseVersion(release.try_into().unwrap()),
            size: Size::from_milli(500),
            index,
            state,
            node: None,
            machine: None,
            address: None,
            restarts: 0,
            started_at: None,
            last_exit: None,
            trouble: None,
        }
    }

    #[test]
    fn a_healthy_one_of_the_newest_release_is_chosen() {
        use InstanceState::{Crashed, Ready, Starting, Stopping};
        let all = [
            instance("old", "web", 1, 1, Ready),
            instance("b1", "web", 2, 1, Ready),
            instance("b2", "web", 2, 2, Ready),
            instance("w", "worker", 2, 1, Ready),
            instance("new", "web", 3, 1, Starting),
            instance("x", "clock", 3, 1, Crashed),
            instance("y", "web", 4, 1, Stopping),
        ];
        let seen: std::collections::BTreeSet<_> = (0..200).map(|_| best(all.iter()).unwrap().name.as_str()).collect();
        assert_eq!(seen, ["b1", "b2"].into(), "either, and no other");
        let called = |name: &str| best(all.iter().filter(|one| is_called(one, name))).map(|one| one.name.clone());
        assert_eq!(called("web.2").as_deref(), Some("b2"));
        assert_eq!(called("worker").as_deref(), Some("w"));
        assert_eq!(called("old").as_deref(), Some("old"));
        assert_eq!(called("clock.1"), None, "it does not run");
        assert_eq!(best(all[4..].iter()).unwrap().name, "new", "one that starts is better than none");
    }
}
