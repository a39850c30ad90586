//! What is looked at before anything is touched: the plan, what runs, and every node.

use std::collections::BTreeMap;

use crate::server::domain::{App, Refusal, SlugDigest, Workload};
use crate::server::hot::{Bundle, Change, Node};

use super::{Hot, Kit, OF_THE_RELEASE, Standing, refusal};
use crate::server::deployer::{DeployError, Deployer};

const ONLY_RESTART: &str = "deploy it with a restart (push without `hot`, or with `or-restart` as well)";

impl Deployer {
    /// The kit, or every reason why it cannot be done; `wanted` are the new release's workloads.
    pub(in crate::server::deployer) async fn survey(
        &self,
        app: &App,
        hot: &Hot,
        wanted: Vec<Workload>,
    ) -> Result<Kit, DeployError> {
        let Some(forth) = Change::of(&hot.plan) else {
            return Err(DeployError::NotHot(hot.plan.refusals.clone()));
        };
        let serving: Vec<_> =
            self.0.fleet.serving(&app.name).into_iter().filter(|workload| workload.replicas > 0).collect();
        let mut refusals = differences(&serving, &hot.old, &wanted);
        let nodes = self.standing(app);
        let wished: u32 = serving.iter().map(|workload| workload.replicas).sum();
        if serving.is_empty() {
            refusals.push(refusal(
                "replicas",
                "nothing of the app runs",
                "`gigalixir ps:scale --replicas 1`, or push without `hot`",
            ));
        } else if nodes.len() != wished as usize {
            let text = format!("{} of {wished} replicas are ready and may be Erlang nodes", nodes.len());
            refusals.push(refusal(
                "replicas",
                text,
                format!("wait until `gigalixir ps` shows all as Healthy, or {ONLY_RESTART}"),
            ));
        }
        if !refusals.is_empty() {
            return Err(DeployError::NotHot(refusals));
        }
        let program = self.ask_all(&nodes, &forth).await?;
        let slug = wanted.first().map(|workload| workload.slug.clone()).unwrap_or_else(|| hot.old.clone());
        let archive = self.0.rooms.plans.slugs().local_path(&slug).await?;
        let bundle = Bundle::of(archive, &hot.plan)
            .await
            .map_err(|source| DeployError::Source(format!("the new release could not be read: {source}")))?;
        let back = hot.plan.clone().reversed().and_then(|plan| Change::of(&plan));
        let renewed = serving.iter().filter_map(|standing| renewed(standing, &wanted)).collect();
        Ok(Kit { plan: hot.plan.clone(), forth, back, program, bundle, nodes, renewed })
    }

    /// Every ready replica that may be a node, `web` first.
    pub(super) fn standing(&self, app: &App) -> Vec<Standing> {
        let mut all: Vec<_> =
            self.nodes(&app.name).into_iter().map(|(instance, cookies)| Standing { instance, cookies }).collect();
        all.sort_by_key(|one| {
            (!one.instance.workload.process.is_web(), one.instance.workload.clone(), one.instance.index)
        });
        all
    }

    /// Finds every node and asks whether anything stands against the change. The program that the first one compiles
    /// comes back; it is in no node any more.
    async fn ask_all(&self, nodes: &[Standing], forth: &Change) -> Result<Vec<u8>, DeployError> {
        let (mut program, mut refusals) = (Vec::new(), Vec::new());
        for standing in nodes {
            let asked = async {
                let mut node = self.find(standing).await?;
                if program.is_empty() {
                    program = node.compile().await?;
                }
                node.enter(&program).await?;
                let found = node.obstacles(forth).await?;
                node.leave().await?;
                Ok::<_, crate::server::hot::NodeError>(found)
            };
            match asked.await {
                Ok(found) => refusals.extend(found.into_iter().map(|text| obstacle(standing, &text))),
                Err(error) => refusals.push(refusal("node", format!("{}: {error}", standing.label()), ONLY_RESTART)),
            }
        }
        if refusals.is_empty() { Ok(program) } else { Err(DeployError::NotHot(refusals)) }
    }

    pub(super) async fn find(&self, standing: &Standing) -> Result<Node, crate::server::hot::NodeError> {
        let Standing { instance, cookies } = standing;
        let address = instance.node.unwrap_or_else(|| ([127, 0, 0, 1], 0).into());
        Node::find(&*self.0.rooms.runtime, &instance.name, address, cookies).await
    }
}

fn obstacle(standing: &Standing, text: &str) -> Refusal {
    let fix = if text.contains("two versions ago") {
        "let long-lived processes call their loop by its full name (`__MODULE__.loop(…)`), so that they go on in the \
         newest code; for this time, wait for them to end, or deploy with a restart"
    } else {
        "restart the app first: `gigalixir ps:restart`"
    };
    refusal("node", format!("{}: {text}", standing.label()), fix)
}

/// What of the wishes an upgrade cannot bring about.
fn differences(serving: &[Workload], old: &SlugDigest, wanted: &[Workload]) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    for standing in serving {
        let process = &standing.id.process;
        if standing.slug != *old {
            let text = format!("`{process}` does not run the live release's code");
            refusals.push(refusal("release", text, "restart the app first: `gigalixir ps:restart`"));
        }
        let Some(new) = wanted.iter().find(|new| new.id.process == *process) else {
            refusals.push(refusal("procfile", format!("the Procfile has no `{process}` any more"), ONLY_RESTART));
            continue;
        };
        if new.command != standing.command {
            refusals.push(refusal("procfile", format!("the Procfile's line of `{process}` has changed"), ONLY_RESTART));
        }
        let names = other_variables(&standing.env, &new.env);
        if !names.is_empty() {
            let text = format!("`{process}` runs with other variables than the app has now: {}", names.join(", "));
            refusals.push(refusal("config", text, "restart the app first: `gigalixir ps:restart`"));
        }
    }
    for new in wanted.iter().filter(|new| new.replicas > 0) {
        if !serving.iter().any(|standing| standing.id.process == new.id.process) {
            refusals.push(refusal("procfile", format!("`{}` is new in the Procfile", new.id.process), ONLY_RESTART));
        }
    }
    refusals
}

fn other_variables(standing: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Vec<String> {
    let mut names: Vec<&String> = standing.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    let other = |name: &&&String| !OF_THE_RELEASE.contains(&name.as_str()) && standing.get(**name) != new.get(**name);
    names.iter().filter(other).map(|name| format!("`{name}`")).collect()
}

/// What a standing generation is wished to be after the commit.
pub(super) fn renewed(standing: &Workload, wanted: &[Workload]) -> Option<Workload> {
    let new = wanted.iter().find(|new| new.id.process == standing.id.process)?;
    Some(Workload { id: standing.id.clone(), replicas: standing.replicas, ..new.clone() })
}
