//! What an app's replicas take.

use super::ActionError;
use super::access::Action;
use super::apps::Apps;
use crate::api::app::Stats;
use crate::server::domain::User;

const MIB: u64 = 1024 * 1024;

impl Apps {
    /// Memory and processor time, minute by minute for the last hours, and now.
    pub async fn stats(&self, user: &User, name: &str) -> Result<Stats, ActionError> {
        let app = self.may(user, name, Action::See).await?;
        let samples = self.rooms.gauges.of(&app.name).await?;
        let mem = samples.iter().map(|sample| (sample.at.as_second(), Some(sample.memory / MIB)));
        let cpu = samples.iter().map(|sample| (sample.at.as_second(), sample.cpu_milli));
        Ok(Stats { mem: mem.collect(), cpu: cpu.collect() })
    }
}
