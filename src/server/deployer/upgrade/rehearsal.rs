//! The rehearsal: the understudy is upgraded first, and back if there is a way back.

use std::time::Duration;

use tokio::task::JoinHandle;

use crate::server::domain::ProcessType;
use crate::server::hot::{Change, Outcome};
use crate::server::progress::Progress;
use crate::server::steps;

use super::node::with_source;
use super::understudy::{Cast, Understudy};
use super::{Kit, Standing, UpgradeFailure};
use crate::server::deployer::{DeployError, Deployer};

/// How long the changed node is watched for what crashes.
const WATCH: Duration = Duration::from_secs(1);

impl Deployer {
    /// Rehearses. The understudy leaves however it ends: before this returns if it failed, else beside what comes next.
    pub(super) async fn rehearse(
        &self,
        understudy: Understudy,
        kit: &Kit,
        progress: &Progress,
    ) -> Result<Option<JoinHandle<()>>, DeployError> {
        let (from, to) = (&kit.plan.from, &kit.plan.to);
        progress.line(format!("Rehearsing {from} -> {to} in a replica that nobody visits ...")).await;
        let cast = tokio::select! {
            cast = understudy.cast() => cast?,
            () = progress.cancelled().cancelled() => return Err(DeployError::Cancelled),
        };
        steps::reached("upgrade.rehearsing");
        let outcome = self.rehearse_in(&cast, kit).await;
        let leaving = cast.leave();
        match outcome {
            Ok(way_back) => {
                progress.line(format!("The rehearsal went well{way_back}.")).await;
                Ok(leaving)
            }
            Err(found) => {
                if let Some(leaving) = leaving {
                    let _ = leaving.await;
                }
                let replica = ProcessType::rehearsal().to_string();
                Err(DeployError::Upgrade(Box::new(UpgradeFailure { replica, found, rehearsal: true })))
            }
        }
    }

    /// What there is to say of the way back; what was found, if not all is well.
    async fn rehearse_in(&self, cast: &Cast, kit: &Kit) -> Result<&'static str, Vec<String>> {
        let Cast { standing, workload, .. } = cast;
        self.try_node(kit, standing, &Default::default(), &workload.health, WATCH).await?;
        let Some(back) = &kit.back else { return Ok("; there is no way back but a restart") };
        self.and_back(standing, back, kit).await?;
        Ok(", forth and back")
    }

    async fn and_back(&self, standing: &Standing, back: &Change, kit: &Kit) -> Result<(), Vec<String>> {
        let went = async {
            let mut node = self.enter(standing, &kit.program).await?;
            let outcome = node.change(back).await?;
            Ok::<_, crate::server::hot::NodeError>((node.look(back).await?, outcome))
        };
        match went.await {
            Ok((wrong, Outcome::Changed(_))) if wrong.all().is_empty() => Ok(()),
            Ok((wrong, Outcome::Changed(_))) => Err(prefixed(wrong.all())),
            Ok((_, Outcome::Refused(why) | Outcome::Broken(why))) => Err(prefixed(vec![why])),
            Err(error) => Err(prefixed(vec![with_source(&error)])),
        }
    }
}

fn prefixed(found: Vec<String>) -> Vec<String> {
    found.into_iter().map(|text| format!("on the way back: {text}")).collect()
}
