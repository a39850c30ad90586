//! Carries a plan out. Everything before the commit can be undone by removing what is new; everything after it is in
//! the database. Visitors are moved by one publication of one table, after the commit.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::time::Instant;

use crate::server::domain::{App, Formation, JobState, Outcome, Workload};
use crate::server::jobs::Phase;
use crate::server::progress::Progress;
use crate::server::steps;
use crate::server::store::{Commit, Operation, StoreError, WorkloadState};

use super::error::PhaseFailure;
use super::health::{FailedCheck, RolloutFailure, Verdict, blame, judge, troubles};
use super::plan::Plan;
use super::{BeforeCommit, DeployError, Deployer};

/// Lines of a dying replica that are shown.
const LAST_LINES: usize = 50;

/// An operation that has begun, with all it needs.
pub(super) struct Rollout {
    pub(super) operation: Operation,
    /// What runs before the new replicas.
    pub(super) phase: Option<Phase>,
    pub(super) plan: Plan,
    /// Wished from the commit on.
    pub(super) formation: Formation,
    /// Whether the live release has code after the commit.
    pub(super) deployed: bool,
    /// How long the new replicas may take.
    pub(super) timeout: Duration,
    /// What has to be durable before the commit is.
    pub(super) before_commit: Option<BeforeCommit>,
}

impl Deployer {
    /// Carries it out, or undoes it. Returns right after the swap: the old replicas drain in the background.
    pub(super) async fn roll_out(
        &self,
        app: &App,
        mut rollout: Rollout,
        progress: &Progress,
    ) -> Result<(), DeployError> {
        self.0.fleet.add_app(app.id, &app.name, rollout.deployed);
        match self.up_to_commit(app, &mut rollout, progress).await {
            Ok(()) => {
                self.swap(app, &rollout);
                Ok(())
            }
            // Nobody knows whether it was committed: the next server will find out.
            Err(DeployError::Store(StoreError::Closed)) => Err(DeployError::Interrupted),
            Err(error) => Err(self.undo(app, &rollout.operation, &rollout.plan.raise, error).await),
        }
    }

    async fn up_to_commit(&self, app: &App, rollout: &mut Rollout, progress: &Progress) -> Result<(), DeployError> {
        if let Some(phase) = rollout.phase.take() {
            self.release_phase(app, phase, progress).await?;
        }
        steps::reached("release.phase_done");
        let Rollout { operation, plan, .. } = rollout;
        steps::reached("deploy.started");
        if !plan.raise.is_empty() {
            self.raise(app, &plan.raise).await?;
            progress.line(super::messages::starting(&plan.raise)).await;
            self.await_healthy(app, &plan.raise, rollout.timeout, progress).await?;
        }
        steps::reached("deploy.healthy");
        if progress.cancelled().is_cancelled() {
            return Err(DeployError::Cancelled);
        }
        if let Some(before_commit) = rollout.before_commit.take() {
            before_commit.await.map_err(DeployError::Source)?;
        }
        let commit = Commit {
            formation: rollout.formation.clone(),
            retire: plan.retire.iter().map(|id| (id.process.clone(), id.generation)).collect(),
            resize: plan.resize.iter().map(|(id, to)| (id.process.clone(), id.generation, *to)).collect(),
            renew: Vec::new(),
        };
        self.0.rooms.store.commit(operation, commit).await?;
        steps::reached("deploy.committed");
        Ok(())
    }

    /// Runs to its end what the Procfile wants run before the new replicas.
    pub(super) async fn release_phase(&self, app: &App, phase: Phase, progress: &Progress) -> Result<(), DeployError> {
        progress.line(super::messages::releasing(&phase.line)).await;
        let (job, last_lines) = self.0.rooms.jobs.release(app, phase, progress).await?;
        match job.state {
            JobState::Ended(end) if end.outcome == Outcome::Completed => Ok(()),
            _ if progress.cancelled().is_cancelled() => Err(DeployError::Cancelled),
            JobState::Ended(end) => {
                let (job, limit, detail) = (job.id, job.limit, job.detail);
                Err(DeployError::ReleasePhase(Box::new(PhaseFailure { job, end, limit, detail, last_lines })))
            }
            JobState::Queued | JobState::Running => Err(DeployError::Interrupted),
        }
    }

    /// Wishes are durable before the runtime hears of them: nothing can run that the next server would not know.
    async fn raise(&self, app: &App, raise: &[Workload]) -> Result<(), DeployError> {
        let rooms = &self.0.rooms;
        let seal = |workload| rooms.releases.seal_workload(app.id, workload, WorkloadState::Rising);
        rooms.store.add_workloads(raise.iter().map(seal).collect::<Result<_, _>>()?).await?;
        for workload in raise {
            self.0.fleet.add(workload.clone(), WorkloadState::Rising);
        }
        try_join_all(raise.iter().map(|workload| rooms.runtime.apply(workload))).await?;
        Ok(())
    }

    pub(super) async fn await_healthy(
        &self,
        app: &App,
        raise: &[Workload],
        timeout: Duration,
        progress: &Progress,
    ) -> Result<(), DeployError> {
        let deadline = Instant::now() + timeout;
        let mut changes = self.0.fleet.changes();
        let mut told = HashMap::new();
        loop {
            changes.mark_unchanged();
            let instances = self.0.fleet.instances(&app.name);
            for (replica, trouble) in troubles(raise, &instances) {
                // A trouble that lasts is told once.
                if told.insert(replica.clone(), trouble.clone()).as_ref() != Some(&trouble) {
                    progress.line(format!("{replica}: {trouble}")).await;
                }
            }
            match judge(raise, &instances) {
                Verdict::Healthy => return Ok(()),
                Verdict::Ended(instance, exit) => {
                    return Err(DeployError::Unhealthy(Box::new(RolloutFailure {
                        process: instance.workload.process,
                        instance: Some(instance.name),
                        check: FailedCheck::Ended(exit),
                        trouble: instance.trouble,
                        last_lines: Vec::new(),
                    })));
                }
                Verdict::Waiting => {}
            }
            tokio::select! {
                changed = changes.changed() => changed.map_err(|_| DeployError::Interrupted)?,
                () = progress.cancelled().cancelled() => return Err(DeployError::Cancelled),
                () = tokio::time::sleep_until(deadline) => {
                    if let Some(mut failure) = blame(raise, &self.0.fleet.instances(&app.name), timeout) {
                        self.add_last_lines(app, &mut failure).await;
                        return Err(DeployError::Unhealthy(Box::new(failure)));
                    }
                    return Ok(());
                }
            }
        }
    }

    /// The one instant that visitors could notice, and do not: one table replaces the other.
    fn swap(&self, app: &App, rollout: &Rollout) {
        let Rollout { operation, plan, deployed, .. } = rollout;
        self.0.fleet.commit(&app.name, operation.id.0, plan, *deployed);
        self.0.rooms.jobs.schedules_changed();
        steps::reached("deploy.swapped");
        for (id, _) in &plan.resize {
            let (this, id) = (self.clone(), id.clone());
            tokio::spawn(async move {
                this.settle(&id).await;
                steps::reached("scale.settled");
            });
        }
        for id in &plan.retire {
            self.retire_later(app.id, id.clone());
        }
    }

    /// Removes what is new and says why. Should the removal itself fail, reconciling goes on with it.
    pub(super) async fn undo(
        &self,
        app: &App,
        operation: &Operation,
        raised: &[Workload],
        error: DeployError,
    ) -> DeployError {
        if let Err(refused) = self.0.rooms.store.fail(operation).await {
            tracing::error!(app.name = %app.name, error = %refused, "A failed change could not be recorded.");
            return error;
        }
        self.0.fleet.fail(&app.name, operation.id.0);
        steps::reached("undo.recorded");
        for workload in raised {
            self.retire(app.id, &workload.id).await;
        }
        match error {
            // Only now, since a process's last words may arrive after the news of its death.
            DeployError::Unhealthy(mut failure) if failure.last_lines.is_empty() => {
                self.add_last_lines(app, &mut failure).await;
                DeployError::Unhealthy(failure)
            }
            other => other,
        }
    }

    async fn add_last_lines(&self, app: &App, failure: &mut RolloutFailure) {
        if let Some(instance) = &failure.instance {
            failure.last_lines = self.0.rooms.log.last_lines(&app.name, instance, LAST_LINES).await;
        }
    }
}
