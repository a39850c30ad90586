//! Other counts, another size. Makes no release; is recorded, so that a rollback finds what a release last ran with.

use std::collections::BTreeMap;

use crate::server::domain::{App, AppId, Formation, Invalid, ProcessType, Release, Size};
use crate::server::progress::Progress;
use crate::server::store::{Kind, Operation};

use super::plan::{self, Plan};
use super::rollout::Rollout;
use super::wishes::{HealthRules, Subject, workloads};
use super::{DeployError, Deployer};

impl Deployer {
    /// Wishes other counts of some process types and perhaps another size. A count that changes is a wish that the
    /// runtime follows; from nothing, or to another size, new replicas must become healthy first.
    pub async fn scale(
        &self,
        app: AppId,
        counts: BTreeMap<ProcessType, u32>,
        size: Option<Size>,
        by: String,
    ) -> Result<Formation, DeployError> {
        let silent = Progress::silent();
        self.in_turn(app, &silent, move |this, app| async move {
            let live = this.0.rooms.releases.live(app.id).await?;
            check_processes(&counts, live.as_ref())?;
            let formation = app.formation.scaled(counts, size)?;
            if formation == app.formation {
                return Ok(formation);
            }
            this.apply_formation(&app, live, formation.clone(), &by).await?;
            this.tell(&app, &format!("{by}: Scaled to {}.", shown(&formation)));
            Ok(formation)
        })
        .await
    }

    async fn apply_formation(
        &self,
        app: &App,
        live: Option<Release>,
        formation: Formation,
        by: &str,
    ) -> Result<(), DeployError> {
        let rooms = &self.0.rooms;
        let config = live.as_ref().map(|release| release.config.clone()).unwrap_or_default();
        let rules = HealthRules::new(&config, self.0.settings.health_timeout)?;
        let secrets = rooms.releases.secrets(app.id).await?;
        let operation = rooms.releases.begin_without_release(app.id, Kind::Scale, by).await?;
        let deployed = live.as_ref().is_some_and(|release| release.slug.is_some());
        let plan = |operation: &Operation| {
            let Some(Release { slug: Some(slug), version, config, .. }) = &live else { return Plan::default() };
            let (app, domain) = (&app.name, &self.0.settings.domain);
            let subject = Subject { app, domain, secrets: &secrets, version: *version, slug, config };
            let wanted = workloads(subject, &formation, operation.id.0, &rules, self.0.settings.uptime);
            plan::rescale(&self.0.fleet.serving(app), wanted)
        };
        let plan = plan(&operation);
        let rollout =
            Rollout { operation, phase: None, plan, formation, deployed, timeout: rules.timeout, before_commit: None };
        self.roll_out(app, rollout, &Progress::silent()).await
    }
}

/// Once there is code, only what its Procfile names can be scaled.
fn check_processes(counts: &BTreeMap<ProcessType, u32>, live: Option<&Release>) -> Result<(), Invalid> {
    let Some(slug) = live.and_then(|release| release.slug.as_ref()) else { return Ok(()) };
    match counts.keys().find(|process| slug.services().all(|(known, _)| known != *process)) {
        None => Ok(()),
        Some(unknown) => {
            let known: Vec<_> = slug.services().map(|(process, _)| process.as_str()).collect();
            let known = known.join(", ");
            Err(Invalid::new("replicas", format!("of `{unknown}`: there is no such process type, only {known}")))
        }
    }
}

fn shown(formation: &Formation) -> String {
    let counts = formation.replicas.iter().map(|(process, count)| format!("{process}={count}"));
    let size = format!("size={}", formation.size.as_f64());
    counts.chain([size]).collect::<Vec<_>>().join(" ")
}
