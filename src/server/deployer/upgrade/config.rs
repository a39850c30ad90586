//! Another config for nodes that run: their variables are set, the release's providers (`config/runtime.exs`) run again,
//! and the applications whose configuration comes out otherwise are told by `config_change/3`.
//!
//! First every node says what would come of it, then the release is recorded, then the nodes are changed one after the
//! other. One that fails leaves all that were changed to be replaced: they boot the old config.

use crate::server::domain::{App, NodeUpgrade, NodeUpgradeState, Refusal, ReleaseVersion, UpgradePlan, Workload};
use crate::server::hot::{Foreseen, NodeError, Variables};
use crate::server::progress::Progress;
use crate::server::steps;
use crate::server::store::StoreError;

use super::survey::renewed;
use super::{OF_THE_RELEASE, Standing, UpgradeFailure, refusal};
use crate::server::deployer::rollout::Rollout;
use crate::server::deployer::wishes::{HEALTH_PATH, HEALTH_TIMEOUT};
use crate::server::deployer::{DeployError, Deployer};

/// What the platform, the emulator or the release's own scripts read when a replica is started, and nobody after.
const AT_START: [&str; 16] = [
    HEALTH_PATH,
    HEALTH_TIMEOUT,
    "HOME",
    "PATH",
    "LC_ALL",
    "LANG",
    "PORT",
    "HOSTNAME",
    "HOST_INDEX",
    "MY_POD_IP",
    "MY_POD_NAMESPACE",
    "MY_NODE_NAME",
    "MY_COOKIE",
    "ERLANG_COOKIE",
    "GIGALIXIR_COMMAND",
    "GIGALIXIR_APP_NAME",
];
const AT_START_TOO: [&str; 4] = ["RELEASE_", "ERL_", "ELIXIR_ERL_", "LD_"];

/// What a change of the config needs, ready before anything is touched.
pub(in crate::server::deployer) struct ConfigKit {
    program: Vec<u8>,
    nodes: Vec<(Standing, Variables, Foreseen)>,
    renewed: Vec<Workload>,
}

impl ConfigKit {
    /// With the wishes of the release that has been recorded meanwhile.
    pub(in crate::server::deployer) fn renewed_by(self, wanted: &[Workload]) -> Self {
        let renewed = self.renewed.iter().filter_map(|standing| renewed(standing, wanted)).collect();
        Self { renewed, ..self }
    }
}

impl Deployer {
    /// The kit, or every reason why it cannot be done.
    pub(in crate::server::deployer) async fn survey_config(
        &self,
        app: &App,
        wanted: Vec<Workload>,
    ) -> Result<ConfigKit, DeployError> {
        let serving = self.0.fleet.serving(&app.name);
        let serving: Vec<_> = serving.into_iter().filter(|workload| workload.replicas > 0).collect();
        let mut refusals: Vec<Refusal> = Vec::new();
        let (mut program, mut nodes) = (Vec::new(), Vec::new());
        let standing = self.standing(app);
        let wished: u32 = serving.iter().map(|workload| workload.replicas).sum();
        if standing.len() != wished as usize {
            let text = format!("{} of {wished} replicas are ready and may be Erlang nodes", standing.len());
            refusals.push(refusal("replicas", text, "wait until `gigalixir ps` shows all as Healthy"));
        }
        for one in standing {
            let old = serving.iter().find(|workload| workload.id == one.instance.workload);
            let new = old.and_then(|old| wanted.iter().find(|new| new.id.process == old.id.process));
            let Some((old, new)) = old.zip(new) else { continue };
            let variables = variables(old, new);
            refusals.extend(at_start(&variables));
            match self.foresee(&one, &variables, &mut program).await {
                Ok(foreseen) => {
                    refusals.extend(foreseen.refused.iter().map(|app| untold(app)));
                    nodes.push((one, variables, foreseen));
                }
                Err(error) => {
                    let text = format!("{}: {error}", one.label());
                    refusals.push(refusal(
                        "node",
                        text,
                        "only nodes of mix releases can be told; set it with a restart",
                    ));
                }
            }
        }
        refusals.sort_by(|a, b| a.text.cmp(&b.text));
        refusals.dedup();
        if !refusals.is_empty() {
            return Err(DeployError::NotHot(refusals));
        }
        let renewed = serving.iter().filter_map(|standing| renewed(standing, &wanted)).collect();
        Ok(ConfigKit { program, nodes, renewed })
    }

    async fn foresee(
        &self,
        standing: &Standing,
        variables: &Variables,
        program: &mut Vec<u8>,
    ) -> Result<Foreseen, NodeError> {
        let mut node = self.find(standing).await?;
        if program.is_empty() {
            *program = node.compile().await?;
        }
        node.enter(program).await?;
        let foreseen = node.foresee(variables).await;
        node.leave().await?;
        foreseen
    }

    /// Tells every node and commits, or leaves none that was told.
    pub(in crate::server::deployer) async fn roll_out_config(
        &self,
        app: &App,
        mut rollout: Rollout,
        kit: ConfigKit,
    ) -> Result<(), DeployError> {
        let version = rollout.operation.release.ok_or(DeployError::Interrupted)?;
        let none = refusal("config", "a config has no way back in a running node", "");
        let plan = UpgradePlan::refused("the old config", "the new config", none);
        self.0.rooms.store.begin_upgrade(app.id, version, plan.clone()).await?;
        let told = async {
            for node in &kit.nodes {
                self.tell_node(app, version, node, &kit.program).await?;
            }
            self.commit_upgrade(app, &mut rollout, &kit.renewed).await
        };
        match told.await {
            Ok(()) => {
                self.settled(app, version).await;
                Ok(())
            }
            Err(DeployError::Store(StoreError::Closed)) => Err(DeployError::Interrupted),
            Err(error) => {
                self.go_back(app, version, &plan, &kit.program, &Progress::silent()).await?;
                Err(self.undo(app, &rollout.operation, &[], error).await)
            }
        }
    }

    async fn tell_node(
        &self,
        app: &App,
        version: ReleaseVersion,
        (standing, variables, foreseen): &(Standing, Variables, Foreseen),
        program: &[u8],
    ) -> Result<(), DeployError> {
        let (store, instance) = (&self.0.rooms.store, standing.instance.name.clone());
        let note = |state| NodeUpgrade { instance: instance.clone(), state, pause_us: None, took_us: None };
        store.note_node(app.id, version, note(NodeUpgradeState::Begun)).await?;
        steps::reached("upgrade.node_begun");
        let told = async {
            let mut node = self.enter(standing, program).await?;
            node.configure(variables, foreseen).await?;
            node.leave().await
        };
        told.await.map_err(|error| {
            let found = vec![error.to_string()];
            DeployError::Upgrade(Box::new(UpgradeFailure { replica: standing.label(), found, rehearsal: false }))
        })?;
        store.note_node(app.id, version, note(NodeUpgradeState::Changed)).await?;
        steps::reached("upgrade.node_changed");
        Ok(())
    }
}

fn variables(old: &Workload, new: &Workload) -> Variables {
    let other = |name: &&String| !OF_THE_RELEASE.contains(&name.as_str()) && old.env.get(*name) != new.env.get(*name);
    let set =
        new.env.keys().filter(other).filter_map(|name| Some((name.clone(), new.env.get(name)?.clone()))).collect();
    let unset = old.env.keys().filter(|name| !new.env.contains_key(*name)).cloned().collect();
    Variables { set, unset }
}

fn at_start(variables: &Variables) -> impl Iterator<Item = Refusal> + use<> {
    let names: Vec<String> = variables.set.keys().chain(&variables.unset).cloned().collect();
    let bad =
        |name: &String| AT_START.contains(&name.as_str()) || AT_START_TOO.iter().any(|start| name.starts_with(start));
    names.into_iter().filter(bad).map(|name| {
        refusal("config", format!("`{name}` is read when a replica is started and not again"), "set it with a restart")
    })
}

fn untold(app: &str) -> Refusal {
    let fix = "define config_change/3 in its application module, or set it with a restart";
    refusal(
        "config",
        format!("the configuration of {app} comes out otherwise, and the application would not be told"),
        fix,
    )
}
