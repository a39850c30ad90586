//! All nodes at one version: forth after a commit, back after a failure, and at a server's start whichever of both the
//! last one did not get to. A node that does not go where it belongs is replaced by a new replica, which does.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::server::domain::{App, Instance, NodeUpgrade, NodeUpgradeState, ReleaseVersion, UpgradePlan};
use crate::server::hot::{Change, NodeError, Outcome};
use crate::server::progress::Progress;
use crate::server::steps;
use crate::server::store::OpenUpgrade;

use super::{Kit, Standing};
use crate::server::deployer::{DeployError, Deployer};

/// For replicas to become ready that are replaced, or that a server finds at its start.
const READY: Duration = Duration::from_mins(2);

impl Deployer {
    /// After the commit: every node lets go of the old release; one that is not at the new one is replaced.
    pub(super) async fn close_upgrade(&self, app: &App, version: ReleaseVersion, kit: &Kit) {
        self.close_nodes(app, &kit.forth, Some(&kit.program)).await;
        self.settled(app, version).await;
    }

    /// One that has ended meanwhile may have been started from the old release just before: it is waited for, and asked as
    /// the others are.
    async fn close_nodes(&self, app: &App, forth: &Change, program: Option<&[u8]>) {
        self.await_ready(app).await;
        for standing in self.present(app) {
            self.close_node(app, &standing, forth, program).await;
        }
    }

    async fn close_node(&self, app: &App, standing: &Standing, forth: &Change, program: Option<&[u8]>) {
        let closed = async {
            let mut node = self.find(standing).await?;
            let compiled = if program.is_none() { node.compile().await? } else { Vec::new() };
            node.enter(program.unwrap_or(&compiled)).await?;
            let lacking = node.lacking(forth).await?;
            if lacking.is_empty() {
                node.finish(forth).await?;
                node.leave().await?;
            }
            Ok::<_, NodeError>(lacking)
        };
        let wrong = match closed.await {
            Ok(lacking) if lacking.is_empty() => return,
            Ok(lacking) => lacking.join("; "),
            Err(error) => error.to_string(),
        };
        self.tell(app, &format!("{} is replaced after the upgrade: {wrong}", standing.label()));
        self.replace(&standing.instance).await;
    }

    /// After a failure: every node that was touched goes back to where it was.
    pub(super) async fn go_back(
        &self,
        app: &App,
        version: ReleaseVersion,
        plan: &UpgradePlan,
        program: &[u8],
        progress: &Progress,
    ) -> Result<(), DeployError> {
        let store = &self.0.rooms.store;
        let touched = store.upgraded_nodes(app.id, version).await?;
        let touched = touched.into_iter().rev().filter(|node| node.state != NodeUpgradeState::Undone);
        let back = plan.clone().reversed().as_ref().and_then(Change::of);
        // One that has ended since is started from the old slug, and may have been reached nevertheless.
        self.await_ready(app).await;
        for node in touched {
            let standing = self.present(app).into_iter().find(|one| one.instance.name == node.instance);
            if let Some(standing) = standing {
                let label = standing.label();
                match self.node_back(&standing, plan, back.as_ref(), program).await {
                    Ok(true) => progress.line(format!("{label} is back at {}.", plan.from)).await,
                    Ok(false) => {}
                    Err(why) => {
                        let why = why.lines().next().unwrap_or_default().chars().take(300).collect::<String>();
                        self.tell(app, &format!("{label} is replaced by a new replica of {}: {why}", plan.from));
                        progress.line(format!("{label} is replaced by a new replica of {}.", plan.from)).await;
                        self.replace(&standing.instance).await;
                    }
                }
            }
            store.note_node(app.id, version, NodeUpgrade { state: NodeUpgradeState::Undone, ..node }).await?;
            steps::reached("upgrade.node_undone");
        }
        self.await_ready(app).await;
        self.settled(app, version).await;
        Ok(())
    }

    /// Whether it had to be changed; why it cannot be.
    async fn node_back(
        &self,
        standing: &Standing,
        plan: &UpgradePlan,
        back: Option<&Change>,
        program: &[u8],
    ) -> Result<bool, String> {
        let Some(back) = back else { return Err("there is no way back in a running node".to_owned()) };
        let forth = Change::of(plan).ok_or("there is no plan")?;
        let went = async {
            let mut node = self.find(standing).await?;
            let compiled = if program.is_empty() { node.compile().await? } else { Vec::new() };
            node.enter(if program.is_empty() { &compiled } else { program }).await?;
            let untouched = node.lacking(back).await?.is_empty() && !node.is_broken().await?;
            if !untouched {
                // What is at neither version is no node to go on with.
                if !node.lacking(&forth).await?.is_empty() {
                    return Ok(Err("it stopped halfway".to_owned()));
                }
                match node.change(back).await? {
                    Outcome::Changed(_) => {}
                    Outcome::Refused(why) | Outcome::Broken(why) => return Ok(Err(why)),
                }
                let wrong = node.look(back).await?.all();
                if !wrong.is_empty() {
                    return Ok(Err(wrong.join("; ")));
                }
            }
            let workload = self.0.fleet.wish(&standing.instance.workload).map(|wish| wish.workload);
            if let Some(workload) = workload {
                node.tell_variables(&super::of_the_release(&workload.env)).await?;
            }
            node.finish(back).await?;
            node.leave().await?;
            Ok::<_, NodeError>(Ok(!untouched))
        };
        went.await.map_err(|error| error.to_string())?
    }

    async fn replace(&self, instance: &Instance) {
        let replaced = self.0.rooms.runtime.replace(&instance.workload, &instance.name, self.0.settings.grace).await;
        if let Err(error) = replaced {
            tracing::error!(instance.name = %instance.name, error = %error, "A replica could not be replaced.");
        }
    }

    pub(super) async fn settled(&self, app: &App, version: ReleaseVersion) {
        if let Err(error) = self.0.rooms.store.settle_upgrade(app.id, version).await {
            tracing::error!(app.name = %app.name, error = %error, "An upgrade could not be settled; the next start tries again.");
        }
        steps::reached("upgrade.settled");
    }

    /// Until as many replicas are ready as are wished, for so long.
    async fn await_ready(&self, app: &App) {
        let (end, mut changes) = (Instant::now() + READY, self.0.fleet.changes());
        loop {
            changes.mark_unchanged();
            let wished: u32 = self.0.fleet.serving(&app.name).iter().map(|workload| workload.replicas).sum();
            if self.0.fleet.ready(&app.name).len() >= wished as usize {
                return;
            }
            match timeout_at(end, changes.changed()).await {
                Ok(Ok(())) => {}
                _ => return,
            }
        }
    }

    /// What the last server left of upgrades: finished or undone, in the apps' turns, in the background.
    pub(in crate::server::deployer) async fn settle_upgrades(&self) -> Result<(), DeployError> {
        for open in self.0.rooms.store.open_upgrades().await? {
            let this = self.clone();
            self.0.operations.spawn(async move {
                let silent = Progress::silent();
                let OpenUpgrade { app, release, plan, failed } = open;
                let settled = this.in_turn(app, &silent, move |this, app| async move {
                    if failed {
                        this.tell(&app, &format!("Release {release} was cut off: its nodes go back to {}.", plan.from));
                        return this.go_back(&app, release, &plan, &[], &Progress::silent()).await;
                    }
                    // What is replaced has to boot the new release, which the last server may not have told the runtime.
                    for workload in this.0.fleet.serving(&app.name) {
                        this.0.rooms.runtime.apply(&workload).await?;
                    }
                    if let Some(forth) = Change::of(&plan) {
                        this.close_nodes(&app, &forth, None).await;
                    }
                    this.settled(&app, release).await;
                    Ok(())
                });
                if let Err(error) = settled.await {
                    tracing::error!(error = %error, "An upgrade could not be settled; the next start tries again.");
                }
            });
        }
        Ok(())
    }
}
