//! The understudy: a replica of what serves that nobody visits, in which the upgrade is rehearsed. Starting it is what takes
//! longest of a rehearsal, so a push has it started while it is being built.
//!
//! It is started like any replica, so what holds for it holds for the others: but with a cookie of its own, and without a
//! way to find the app's nodes, so that it is in no cluster of theirs. For the database it is a generation that has only to
//! go, from before it is there: whatever becomes of the push or the server, somebody ends it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;

use crate::server::domain::{App, AppId, InstanceState, ProcessType, Workload, WorkloadId};
use crate::server::progress::Progress;
use crate::server::store::{Kind, WorkloadState};

use super::{Standing, UpgradeFailure};
use crate::server::deployer::wishes::HealthRules;
use crate::server::deployer::{DeployError, Deployer};

const COOKIES: [&str; 3] = ["ERLANG_COOKIE", "MY_COOKIE", "RELEASE_COOKIE"];
/// Who is said to have started it.
const PLATFORM: &str = "the platform";

/// An understudy that stands, or will. Dropping it ends it.
#[derive(Debug)]
pub struct Understudy {
    task: AbortOnDropHandle<Result<Cast, DeployError>>,
    known: Arc<Known>,
}

/// What is known of it before it stands.
#[derive(Debug, Default)]
struct Known {
    /// The wish that it was made after.
    like: OnceLock<Workload>,
    /// What does the work in nodes, compiled by it.
    program: OnceLock<Vec<u8>>,
}

/// An understudy that stands.
#[derive(Debug)]
pub(super) struct Cast {
    pub(super) standing: Standing,
    pub(super) workload: Workload,
    end: End,
}

/// An understudy that may not stand yet.
struct Raised {
    workload: Workload,
    timeout: Duration,
    end: End,
}

/// Its end, at the latest when this is dropped.
struct End {
    deployer: Deployer,
    app: AppId,
    id: WorkloadId,
    is_told: bool,
}

impl std::fmt::Debug for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("End").field(&self.id).finish()
    }
}

impl Understudy {
    /// What does the work in nodes, if it has been compiled already.
    pub(super) fn program(&self) -> Option<&[u8]> {
        self.known.program.get().map(Vec::as_slice)
    }

    /// Waits until it stands.
    pub(super) async fn cast(self) -> Result<Cast, DeployError> {
        self.task.await.map_err(|_| DeployError::Interrupted)?
    }
}

impl Cast {
    /// Ends it; the answer comes when it is gone.
    pub(super) fn leave(mut self) -> Option<JoinHandle<()>> {
        self.end.tell()
    }
}

impl End {
    fn tell(&mut self) -> Option<JoinHandle<()>> {
        if std::mem::replace(&mut self.is_told, true) {
            return None;
        }
        // Where there is no runtime any more the server ends, and the next one sees to it.
        let handle = Handle::try_current().ok()?;
        let (deployer, app, id) = (self.deployer.clone(), self.app, self.id.clone());
        deployer.0.fleet.unclaim_retiring(&id);
        Some(handle.spawn(async move { deployer.retire(app, &id).await }))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        drop(self.tell());
    }
}

impl Deployer {
    /// Begins to start one, in the app's turn. Whether it could be is found out by who needs it.
    pub fn understudy(&self, app: AppId) -> Understudy {
        let (this, known) = (self.clone(), Arc::<Known>::default());
        let seen = known.clone();
        let task = tokio::spawn(async move {
            let (silent, raising) = (Progress::silent(), seen.clone());
            let raised = this.in_turn(app, &silent, async move |this, app| {
                let raised = this.raise_understudy(&app, &raising).await?;
                Ok((app, raised))
            });
            let (app, raised) = raised.await?;
            this.stand(&app, raised, &seen).await
        });
        Understudy { task: AbortOnDropHandle::new(task), known }
    }

    /// The one that there is, if it is like what serves now; else another one. For who has the app's turn.
    pub(super) async fn understudy_now(
        &self,
        app: &App,
        early: Option<Understudy>,
    ) -> Result<Option<Understudy>, DeployError> {
        let Some(like) = self.model(app) else { return Ok(None) };
        if let Some(early) = early.filter(|early| early.known.like.get() == Some(&like)) {
            return Ok(Some(early));
        }
        let known = Arc::<Known>::default();
        let raised = self.raise_understudy(app, &known).await?;
        let (this, app, seen) = (self.clone(), app.clone(), known.clone());
        let task = tokio::spawn(async move { this.stand(&app, raised, &seen).await });
        Ok(Some(Understudy { task: AbortOnDropHandle::new(task), known }))
    }

    /// After which of the serving generations it is made.
    fn model(&self, app: &App) -> Option<Workload> {
        let serving = self.0.fleet.serving(&app.name).into_iter().filter(|workload| workload.replicas > 0);
        serving.max_by_key(|workload| workload.id.process.is_web())
    }

    async fn raise_understudy(&self, app: &App, known: &Known) -> Result<Raised, DeployError> {
        let rooms = &self.0.rooms;
        let like = self.model(app).ok_or(DeployError::NotFound)?;
        let config = rooms.releases.config(app.id).await?;
        let timeout = HealthRules::new(&config, self.0.settings.health_timeout)?.timeout;
        let operation = rooms.releases.begin_without_release(app.id, Kind::Rehearse, PLATFORM).await?;
        let mut env = like.env.clone();
        let cookie = uuid::Uuid::new_v4().simple().to_string();
        env.extend(COOKIES.map(|name| (name.to_owned(), cookie.clone())));
        env.insert("LIBCLUSTER_KUBERNETES_SELECTOR".to_owned(), "repo=nobody".to_owned());
        let id = WorkloadId { app: app.name.clone(), process: ProcessType::rehearsal(), generation: operation.id.0 };
        let workload = Workload { id: id.clone(), replicas: 1, env, ..like.clone() };
        let row = rooms.releases.seal_workload(app.id, &workload, WorkloadState::Rising)?;
        rooms.store.add_workloads(vec![row]).await?;
        // Nothing of it will ever be committed: from here on it has only to go.
        rooms.store.fail(&operation).await?;
        self.0.fleet.add(workload.clone(), WorkloadState::Draining);
        // Ending it is ours.
        self.0.fleet.claim_retiring(&id);
        let end = End { deployer: self.clone(), app: app.id, id, is_told: false };
        rooms.runtime.apply(&workload).await?;
        let _ = known.like.set(like);
        Ok(Raised { workload, timeout, end })
    }

    async fn stand(&self, app: &App, raised: Raised, known: &Known) -> Result<Cast, DeployError> {
        let Raised { workload, timeout, end } = raised;
        let failed = |text: String| {
            DeployError::Upgrade(Box::new(UpgradeFailure {
                replica: ProcessType::rehearsal().to_string(),
                found: vec![text],
                rehearsal: true,
            }))
        };
        let silent = Progress::silent();
        let healthy = self.await_healthy(app, std::slice::from_ref(&workload), timeout, &silent);
        healthy.await.map_err(|error| match error {
            DeployError::Unhealthy(_) => failed(format!("the old release did not become healthy there: {error}")),
            other => other,
        })?;
        let instances = self.status(&app.name);
        let instance =
            instances.into_iter().find(|one| one.workload == workload.id && one.state == InstanceState::Ready);
        let instance = instance.ok_or_else(|| failed("its replica has ended".to_owned()))?;
        let cookies = workload.env.get(COOKIES[2]).cloned().into_iter().collect();
        let standing = Standing { instance, cookies };
        // What cannot be compiled here is compiled where it is needed, or is told there.
        if let Ok(mut node) = self.find(&standing).await
            && let Ok(program) = node.compile().await
        {
            let _ = known.program.set(program);
        }
        Ok(Cast { standing, workload, end })
    }
}
