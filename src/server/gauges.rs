//! How much memory and processor time each app takes, minute by minute, for the last hours; and now, for who asks.
//!
//! Kept in memory and bounded: a server that starts has not looked yet. Of what runs where nobody tells, there are no samples.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use super::domain::{AppName, Instance, InstanceState};
use super::runtime::{Cpu, Load, Runtime, RuntimeError};

/// How often all apps are looked at.
const EVERY: Duration = Duration::from_secs(60);
/// For how long samples are kept, of each app.
const KEPT: SignedDuration = SignedDuration::from_hours(4);
/// An app is looked at for those who ask if the newest sample is older.
const FRESH: SignedDuration = SignedDuration::from_secs(5);
/// Replicas that are looked at together.
const AT_ONCE: usize = 8;

/// What all replicas of an app took together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When.
    pub at: Timestamp,
    /// Bytes, without the page cache that can be given back at once.
    pub memory: u64,
    /// Thousandths of a core, since the sample before. `None` of replicas that are seen for the first time, where only the
    /// time is known that they have used.
    pub cpu_milli: Option<u32>,
}

/// The samples of all apps. Cheap to clone.
#[derive(Clone)]
pub struct Gauges(Arc<Inner>);

struct Inner {
    runtime: Arc<dyn Runtime>,
    clock: Clock,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    samples: HashMap<AppName, VecDeque<Sample>>,
    /// By replica: when it was looked at, and what it had taken by then.
    before: HashMap<String, (Duration, Duration)>,
}

impl Gauges {
    /// None yet.
    pub fn new(runtime: Arc<dyn Runtime>, clock: Clock) -> Self {
        Self(Arc::new(Inner { runtime, clock, seen: Mutex::default() }))
    }

    /// Looks at all apps again and again, until it is closed.
    pub fn watch(&self, closed: CancellationToken) {
        let this = self.clone();
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while closed.run_until_cancelled(ticks.tick()).await.is_some() {
                if let Err(error) = this.look(None).await {
                    tracing::warn!(%error, "What apps take could not be looked at.");
                }
            }
        });
    }

    /// An app's samples, oldest first, one of this moment included if something runs.
    pub async fn of(&self, app: &AppName) -> Result<Vec<Sample>, RuntimeError> {
        let now = self.0.clock.now();
        let newest = self.seen().samples.get(app).and_then(|samples| samples.back().map(|sample| sample.at));
        if newest.is_none_or(|newest| now.duration_since(newest) > FRESH) {
            self.look(Some(app)).await?;
        }
        Ok(self.seen().samples.get(app).into_iter().flatten().copied().collect())
    }

    async fn look(&self, only: Option<&AppName>) -> Result<(), RuntimeError> {
        let mut running = self.0.runtime.instances().await?;
        running.retain(|one| !matches!(one.state, InstanceState::Crashed | InstanceState::Ended));
        let names: HashSet<String> = running.iter().map(|one| one.name.clone()).collect();
        running.retain(|one| only.is_none_or(|only| one.workload.app == *only));
        let loads: Vec<_> = stream::iter(running.into_iter().map(|one| self.clone().load(one)))
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let now = self.0.clock.now();
        let mut seen = self.seen();
        seen.add(loads, now);
        seen.forget(&names, now);
        Ok(())
    }

    /// One that has ended meanwhile takes nothing.
    async fn load(self, one: Instance) -> (Instance, Option<Load>, Duration) {
        let load = self.0.runtime.load(&one.name).await.ok().flatten();
        (one, load, self.0.clock.moment().elapsed)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn add(&mut self, loads: Vec<(Instance, Option<Load>, Duration)>, at: Timestamp) {
        let mut sums: HashMap<AppName, Sample> = HashMap::new();
        for (one, load, now) in loads {
            let Some(load) = load else { continue };
            let sum = sums.entry(one.workload.app).or_insert(Sample { at, memory: 0, cpu_milli: None });
            sum.memory += load.memory;
            let milli = match load.cpu {
                Some(Cpu::Milli(milli)) => Some(milli),
                Some(Cpu::Time(used)) => self
                    .before
                    .insert(one.name, (now, used))
                    .and_then(|(then, before)| rate(now.saturating_sub(then), used.saturating_sub(before))),
                None => None,
            };
            if let Some(milli) = milli {
                sum.cpu_milli = Some(sum.cpu_milli.unwrap_or(0).saturating_add(milli));
            }
        }
        for (app, sample) in sums {
            self.samples.entry(app).or_default().push_back(sample);
        }
    }

    /// What is over: replicas that are gone, and what was seen too long ago.
    fn forget(&mut self, there: &HashSet<String>, now: Timestamp) {
        self.before.retain(|name, _| there.contains(name));
        for samples in self.samples.values_mut() {
            while samples.front().is_some_and(|oldest| now.duration_since(oldest.at) > KEPT) {
                samples.pop_front();
            }
        }
        self.samples.retain(|_, samples| !samples.is_empty());
    }
}

/// Thousandths of a core.
fn rate(passed: Duration, used: Duration) -> Option<u32> {
    let milli = (used.as_micros() * 1000).checked_div(passed.as_micros())?;
    u32::try_from(milli).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_thousandths_of_a_core() {
        let seconds = Duration::from_secs;
        assert_eq!(rate(seconds(10), seconds(5)), Some(500));
        assert_eq!(rate(seconds(1), seconds(4)), Some(4000));
        assert_eq!(rate(seconds(0), seconds(4)), None);
    }
}
