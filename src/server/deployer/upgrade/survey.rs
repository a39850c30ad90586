//! What is looked at before anything is touched: the plan, what runs, and every node.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use crate::server::domain::{App, Instance, InstanceState, Refusal, SlugDigest, UpgradePlan, Workload};
use crate::server::hot::{Bundle, Change, Node, NodeError};

use super::{Hot, Kit, OF_THE_RELEASE, Standing, refusal};
use crate::server::deployer::{DeployError, Deployer};

const ONLY_RESTART: &str = "deploy it with a restart (push without `hot`, or with `or-restart` as well)";

impl Deployer {
    /// The kit, or every reason why it cannot be done; `wanted` are the new release's workloads.
    pub(in crate::server::deployer) async fn survey(
        &self,
        app: &App,
        hot: Hot,
        wanted: Vec<Workload>,
    ) -> Result<Kit, DeployError> {
        let serving: Vec<_> =
            self.0.fleet.serving(&app.name).into_iter().filter(|workload| workload.replicas > 0).collect();
        let nodes = self.standing(app);
        let mut refusals = hot.plan.refusals.clone();
        refusals.extend(differences(&serving, &hot.old, &wanted));
        refusals.extend(absent(&serving, nodes.len()));
        let forth = Change::of(&hot.plan);
        let mut program = hot.understudy.as_ref().and_then(|one| one.program()).unwrap_or_default().to_vec();
        let mut bundle = None;
        if let Some(forth) = &forth {
            let slug = wanted.first().map_or(&hot.old, |workload| &workload.slug);
            let (found, bundled) =
                tokio::join!(self.ask_all(&nodes, forth, &mut program), self.bundle(slug, &hot.plan));
            refusals.extend(found);
            bundle = Some(bundled);
        }
        let possible = forth.zip(bundle).filter(|_| refusals.is_empty());
        let Some((forth, bundle)) = possible else { return Err(DeployError::NotHot(refusals)) };
        let bundle = bundle?;
        let back = hot.plan.clone().reversed().and_then(|plan| Change::of(&plan));
        let renewed = serving.iter().filter_map(|standing| renewed(standing, &wanted)).collect();
        let understudy = self.understudy_now(app, hot.understudy).await?;
        Ok(Kit { plan: hot.plan, forth, back, program, bundle, nodes, renewed, understudy })
    }

    /// Every ready replica that may be a node, `web` first.
    pub(super) fn standing(&self, app: &App) -> Vec<Standing> {
        in_order(self.nodes(&app.name))
    }

    /// Every replica that may be a node, or become one again, whether it is ready or not.
    pub(super) fn present(&self, app: &App) -> Vec<Standing> {
        let serving = self.0.fleet.serving(&app.name);
        let serves = |one: &Instance| serving.iter().any(|workload| workload.id == one.workload);
        let all = self.status(&app.name).into_iter().filter(|one| one.state != InstanceState::Stopping && serves(one));
        in_order(self.with_cookies(&app.name, all.collect()))
    }

    /// Asks every node whether anything stands against the change. Afterwards there is a `program` for that, which the
    /// first node compiles if there was none; it is in no node any more.
    async fn ask_all(&self, nodes: &[Standing], forth: &Change, program: &mut Vec<u8>) -> Vec<Refusal> {
        if program.is_empty()
            && let Some(first) = nodes.first()
        {
            let compiled = async { self.find(first).await?.compile().await };
            match compiled.await {
                Ok(compiled) => *program = compiled,
                Err(error) => return vec![unreachable(first, &error)],
            }
        }
        let asked = nodes.iter().map(async |standing| match self.ask(standing, forth, program).await {
            Ok(found) => found.into_iter().map(|text| obstacle(standing, &text)).collect(),
            Err(error) => vec![unreachable(standing, &error)],
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    async fn bundle(&self, slug: &SlugDigest, plan: &UpgradePlan) -> Result<Bundle, DeployError> {
        let archive = self.0.rooms.plans.slugs().local_path(slug).await?;
        let unreadable = |source| DeployError::Source(format!("the new release could not be read: {source}"));
        Bundle::of(archive, plan).await.map_err(unreadable)
    }

    async fn ask(&self, standing: &Standing, forth: &Change, program: &[u8]) -> Result<Vec<String>, NodeError> {
        let mut node = self.enter(standing, program).await?;
        let found = node.obstacles(forth).await?;
        node.leave().await?;
        Ok(found)
    }

    pub(super) async fn find(&self, standing: &Standing) -> Result<Node, NodeError> {
        let Standing { instance, cookies } = standing;
        let address = instance.node.unwrap_or_else(|| ([127, 0, 0, 1], 0).into());
        Node::find(&*self.0.rooms.runtime, &instance.name, address, cookies).await
    }
}

fn in_order(nodes: Vec<(Instance, Vec<String>)>) -> Vec<Standing> {
    let mut all: Vec<_> = nodes.into_iter().map(|(instance, cookies)| Standing { instance, cookies }).collect();
    all.sort_by_key(|one| (!one.instance.workload.process.is_web(), one.instance.workload.clone(), one.instance.index));
    all
}

fn unreachable(standing: &Standing, error: &NodeError) -> Refusal {
    refusal("node", format!("{}: {error}", standing.label()), ONLY_RESTART)
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

/// Replicas that should be upgraded and are not there to be.
fn absent(serving: &[Workload], ready: usize) -> Option<Refusal> {
    let wished: u32 = serving.iter().map(|workload| workload.replicas).sum();
    if serving.is_empty() {
        let fix = "`gigalixir ps:scale --replicas 1`, or push without `hot`";
        return Some(refusal("replicas", "nothing of the app runs", fix));
    }
    let text = format!("{ready} of {wished} replicas are ready and may be Erlang nodes");
    let fix = format!("wait until `gigalixir ps` shows all as Healthy, or {ONLY_RESTART}");
    (ready != wished as usize).then(|| refusal("replicas", text, fix))
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
