//! A release that is brought to nodes while they run, instead of new replicas beside old ones.
//!
//! Survey (nothing is touched) → record → release phase → rehearsal → canary → the other nodes → commit → close. What the
//! survey finds is a refusal. What fails later is undone: each node that was touched goes back by the way it came, or if
//! that does not work its replica is replaced from the old slug, which stays the wish until the commit. The commit makes
//! the new slug the wish of the same generations: whatever is started from then on boots it.
//!
//! Which nodes were touched is in the database before they are, so a server killed at any step goes back (before the
//! commit) or forth (after it) at its next start: [`settle`].

mod config;
mod node;
mod rehearsal;
mod settle;
mod survey;
mod understudy;

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::try_join_all;

use crate::server::domain::{App, Instance, Refusal, ReleaseVersion, SlugDigest, UpgradePlan, Workload};
use crate::server::hot::{Bundle, Change};
use crate::server::progress::Progress;
use crate::server::steps;
use crate::server::store::{Commit, StoreError, WorkloadState};

use super::rollout::Rollout;
use super::{DeployError, Deployer, messages};

pub use node::UpgradeFailure;
pub use understudy::Understudy;

/// What a deploy says that wants to be brought to running nodes.
#[derive(Debug)]
pub struct Hot {
    /// How.
    pub plan: UpgradePlan,
    /// The code that the plan begins with.
    pub old: SlugDigest,
    /// Whether new replicas are put beside the old ones, if it cannot be done.
    pub or_restart: bool,
    /// For the rehearsal, if one is being started already.
    pub understudy: Option<Understudy>,
}

/// All that an upgrade needs, ready before anything is touched.
pub(super) struct Kit {
    plan: UpgradePlan,
    forth: Change,
    back: Option<Change>,
    /// What does the work in the nodes.
    program: Vec<u8>,
    bundle: Bundle,
    /// The nodes, the canary first.
    nodes: Vec<Standing>,
    /// The wishes of the serving generations from the commit on.
    renewed: Vec<Workload>,
    /// For the rehearsal.
    understudy: Option<Understudy>,
}

/// A replica whose node is to be upgraded.
#[derive(Debug, Clone)]
struct Standing {
    instance: Instance,
    cookies: Vec<String>,
}

/// What is different from run to run of the same config and secrets, and is told to nodes that run on.
const OF_THE_RELEASE: [&str; 2] = ["SOURCE_VERSION", "GIGALIXIR_RELEASE_VERSION"];

fn of_the_release(env: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let of = |name: &&str| Some(((*name).to_owned(), env.get(*name)?.clone()));
    OF_THE_RELEASE.iter().filter_map(of).collect()
}

impl Kit {
    /// What the nodes are told of the new release.
    fn variables(&self) -> BTreeMap<String, String> {
        self.renewed.first().map(|workload| of_the_release(&workload.env)).unwrap_or_default()
    }

    /// With the wishes of the release that has been recorded meanwhile.
    pub(super) fn renewed_by(self, wanted: &[Workload]) -> Self {
        let renewed = self.renewed.iter().filter_map(|standing| survey::renewed(standing, wanted)).collect();
        Self { renewed, ..self }
    }
}

impl Deployer {
    /// The kit; none, if it cannot be done and shall then be done with a restart.
    pub(super) async fn surveyed(
        &self,
        app: &App,
        hot: Hot,
        wanted: Vec<Workload>,
        progress: &Progress,
    ) -> Result<Option<Kit>, DeployError> {
        let or_restart = hot.or_restart;
        match self.survey(app, hot, wanted).await {
            Ok(kit) => Ok(Some(kit)),
            Err(refused @ DeployError::NotHot(_)) if or_restart => {
                progress.bytes(messages::instead(&refused).into()).await;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Carries it out in running nodes; if that fails and it shall then be done with a restart, as any other.
    pub(super) async fn roll_out_hot(
        &self,
        app: &App,
        mut rollout: Rollout,
        (mut kit, or_restart): (Kit, bool),
        progress: &Progress,
    ) -> Result<(), DeployError> {
        let understudy = kit.understudy.take();
        let error = match self.upgrade(app, &mut rollout, (&kit, understudy), progress).await {
            Ok(()) => return Ok(()),
            Err(DeployError::Interrupted) => return Err(DeployError::Interrupted),
            Err(error) => error,
        };
        if or_restart && matches!(error, DeployError::NotHot(_) | DeployError::Upgrade(_)) {
            progress.bytes(messages::instead(&error).into()).await;
            return self.roll_out(app, rollout, progress).await;
        }
        Err(self.undo(app, &rollout.operation, &[], error).await)
    }

    /// Brings the release to the nodes and commits it, or leaves them where they were.
    async fn upgrade(
        &self,
        app: &App,
        rollout: &mut Rollout,
        (kit, understudy): (&Kit, Option<Understudy>),
        progress: &Progress,
    ) -> Result<(), DeployError> {
        let version = rollout.operation.release.ok_or(DeployError::Interrupted)?;
        let store = &self.0.rooms.store;
        store.begin_upgrade(app.id, version, kit.plan.clone()).await?;
        match self.bring(app, version, rollout, (kit, understudy), progress).await {
            Ok(()) => {
                self.close_upgrade(app, version, kit).await;
                Ok(())
            }
            Err(DeployError::Store(StoreError::Closed)) => Err(DeployError::Interrupted),
            Err(error) => {
                steps::reached("upgrade.failed");
                self.go_back(app, version, &kit.plan, &kit.program, progress).await?;
                Err(error)
            }
        }
    }

    async fn bring(
        &self,
        app: &App,
        version: ReleaseVersion,
        rollout: &mut Rollout,
        (kit, understudy): (&Kit, Option<Understudy>),
        progress: &Progress,
    ) -> Result<(), DeployError> {
        if let Some(phase) = rollout.phase.take() {
            self.release_phase(app, phase, progress).await?;
        }
        steps::reached("release.phase_done");
        let leaving = match understudy {
            Some(understudy) => self.rehearse(understudy, kit, progress).await?,
            None => None,
        };
        steps::reached("upgrade.rehearsed");
        for (number, standing) in kit.nodes.iter().enumerate() {
            if progress.cancelled().is_cancelled() {
                return Err(DeployError::Cancelled);
            }
            let canary = number == 0;
            let changed = self.upgrade_node(app, version, kit, standing, canary).await?;
            let what = if canary && kit.nodes.len() > 1 { " (the canary)" } else { "" };
            let (label, pause) = (standing.label(), milliseconds(changed.pause));
            progress.line(format!("{label}{what} runs {} now; it was paused for {pause}.", kit.plan.to)).await;
        }
        if let Some(before_commit) = rollout.before_commit.take() {
            before_commit.await.map_err(DeployError::Source)?;
        }
        if let Some(error) = self.ended_since(kit) {
            return Err(error);
        }
        self.commit_upgrade(app, rollout, &kit.renewed).await?;
        if let Some(leaving) = leaving {
            let _ = leaving.await;
        }
        Ok(())
    }

    async fn commit_upgrade(&self, app: &App, rollout: &mut Rollout, renewed: &[Workload]) -> Result<(), DeployError> {
        let rooms = &self.0.rooms;
        let seal = |workload| rooms.releases.seal_workload(app.id, workload, WorkloadState::Serving);
        let commit = Commit {
            formation: rollout.formation.clone(),
            retire: Vec::new(),
            resize: Vec::new(),
            renew: renewed.iter().map(seal).collect::<Result<_, _>>()?,
        };
        rooms.store.commit(&rollout.operation, commit).await?;
        steps::reached("deploy.committed");
        self.0.fleet.renew(&app.name, renewed);
        rooms.jobs.schedules_changed();
        steps::reached("deploy.swapped");
        // From the database it is told again, should this fail.
        if let Err(error) = try_join_all(renewed.iter().map(|workload| rooms.runtime.apply(workload))).await {
            tracing::error!(app.name = %app.name, error = %error, "A renewed workload could not be applied; it will be tried again.");
        }
        steps::reached("upgrade.applied");
        Ok(())
    }
}

impl Standing {
    /// `web.1`
    fn label(&self) -> String {
        format!("{}.{}", self.instance.workload.process, self.instance.index)
    }
}

/// A refusal that the platform finds by itself.
fn refusal(what: &str, text: impl Into<String>, fix: impl Into<String>) -> Refusal {
    Refusal { what: what.to_owned(), text: text.into(), fix: fix.into() }
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}
