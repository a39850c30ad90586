//! One node, forth: what is done to it, and whether it is well afterwards.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::server::domain::{App, HealthCheck, Instance, InstanceState, NodeUpgrade, NodeUpgradeState, ReleaseVersion};
use crate::server::hot::{Changed, Node, NodeError, Outcome};
use crate::server::runtime::health;
use crate::server::steps;

use super::{Kit, Standing};
use crate::server::deployer::{DeployError, Deployer};

/// How long a changed node is watched for what crashes: the first one longer, for the others wait for it.
const CANARY_WATCH: Duration = Duration::from_secs(2);
const WATCH: Duration = Duration::from_millis(500);
/// For its port to answer as it should.
const HEALTH: Duration = Duration::from_secs(10);

const ENDED: &str = "the replica has ended meanwhile";

/// A node that could not be upgraded: facts for `messages.rs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpgradeFailure {
    /// Which replica, `web.1`.
    pub replica: String,
    /// What was found, a sentence each.
    pub found: Vec<String>,
    /// Whether it was a rehearsal: no node of the app was touched.
    pub rehearsal: bool,
}

impl UpgradeFailure {
    /// One line.
    pub(in crate::server::deployer) fn reason(&self) -> String {
        let mut text = match self.rehearsal {
            true => "the rehearsal of the upgrade failed".to_owned(),
            false => format!("{} could not be upgraded", self.replica),
        };
        if let Some(first) = self.found.first().and_then(|first| first.lines().next()) {
            let first: String = first.chars().take(200).collect();
            let _ = write!(text, ": {first}");
        }
        text
    }
}

impl Deployer {
    /// Brings one node to the new release and watches it. Whatever happens to it is in the database before.
    pub(super) async fn upgrade_node(
        &self,
        app: &App,
        version: ReleaseVersion,
        kit: &Kit,
        standing: &Standing,
        canary: bool,
    ) -> Result<Changed, DeployError> {
        let name = standing.instance.name.clone();
        let note = |state, changed: Option<Changed>| {
            let us = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
            let (pause_us, took_us) = (changed.map(|c| us(c.pause)), changed.map(|c| us(c.took)));
            NodeUpgrade { instance: name.clone(), state, pause_us, took_us }
        };
        let store = &self.0.rooms.store;
        store.note_node(app.id, version, note(NodeUpgradeState::Begun, None)).await?;
        steps::reached("upgrade.node_begun");
        let health = kit.renewed.iter().find(|workload| workload.id == standing.instance.workload);
        let health = health.map_or(HealthCheck::Uptime(Duration::ZERO), |workload| workload.health.clone());
        let watch = if canary { CANARY_WATCH } else { WATCH };
        let changed = self.try_node(kit, standing, &kit.variables(), &health, watch).await;
        let changed = changed.map_err(|found| {
            DeployError::Upgrade(Box::new(UpgradeFailure { replica: standing.label(), found, rehearsal: false }))
        })?;
        store.note_node(app.id, version, note(NodeUpgradeState::Changed, Some(changed))).await?;
        steps::reached("upgrade.node_changed");
        Ok(changed)
    }

    /// Carries, changes, watches. What was found, if not all is well.
    pub(super) async fn try_node(
        &self,
        kit: &Kit,
        standing: &Standing,
        variables: &BTreeMap<String, String>,
        health: &HealthCheck,
        watch: Duration,
    ) -> Result<Changed, Vec<String>> {
        let one = |error: &dyn std::error::Error| vec![with_source(error)];
        let runtime = &*self.0.rooms.runtime;
        kit.bundle.carry(runtime, &standing.instance.name).await.map_err(|error| one(&error))?;
        let told = async {
            let mut node = self.find(standing).await?;
            node.enter(&kit.program).await?;
            let found = node.obstacles(&kit.forth).await?;
            let outcome =
                if found.is_empty() { node.change(&kit.forth).await? } else { Outcome::Refused(found.join("; ")) };
            Ok::<_, NodeError>((node, outcome))
        };
        let (mut node, outcome) = told.await.map_err(|error| one(&error))?;
        let changed = match outcome {
            Outcome::Changed(changed) => changed,
            Outcome::Refused(why) | Outcome::Broken(why) => return Err(vec![why]),
        };
        sleep(watch).await;
        let mut found = match node.look(&kit.forth).await {
            Ok(wrong) => wrong.all(),
            Err(error) => vec![error.to_string()],
        };
        found.extend(self.unwell(&standing.instance, health).await);
        if !found.is_empty() {
            return Err(found);
        }
        node.tell_variables(variables).await.map_err(|error| one(&error))?;
        Ok(changed)
    }

    /// What is wrong with a replica as its visitors see it.
    async fn unwell(&self, before: &Instance, check: &HealthCheck) -> Option<String> {
        let Some(now) = self.runs_on(before) else { return Some(ENDED.to_owned()) };
        let address = now.address?;
        let answers = timeout(HEALTH, health::ready(check, &[address], HEALTH)).await;
        answers.is_err().then(|| format!("the replica does not pass its health check any more ({check:?})"))
    }

    /// A replica as it is now, if it is ready and has not been started anew since.
    fn runs_on(&self, before: &Instance) -> Option<Instance> {
        let now = self.status(&before.workload.app).into_iter().find(|one| one.name == before.name)?;
        (now.state == InstanceState::Ready && now.started_at == before.started_at).then_some(now)
    }

    /// The first of the nodes that has ended since it was changed: it was started anew from the old release.
    pub(super) fn ended_since(&self, kit: &Kit) -> Option<DeployError> {
        let ended = kit.nodes.iter().find(|standing| self.runs_on(&standing.instance).is_none())?;
        let found = vec![ENDED.to_owned()];
        Some(DeployError::Upgrade(Box::new(UpgradeFailure { replica: ended.label(), found, rehearsal: false })))
    }

    /// A node of the app, with the program in it.
    pub(super) async fn enter(&self, standing: &Standing, program: &[u8]) -> Result<Node, NodeError> {
        let mut node = self.find(standing).await?;
        node.enter(program).await?;
        Ok(node)
    }
}

/// An error and its cause.
pub(super) fn with_source(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) if source.to_string() != error.to_string() => format!("{error}: {source}"),
        _ => error.to_string(),
    }
}
