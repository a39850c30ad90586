//! How much each app uses: replica-size-seconds, of every replica that the runtime shows, from its first event to its
//! last, whatever it is doing meanwhile.
//!
//! Invariants: use is counted once, whenever the server is killed (a meter's row and the use up to it change together);
//! a wall clock that is set neither adds nor loses; the time in which no server ran counts too, for replicas live on
//! without one: monotonic time is the machine's, not the process's.
//!
//! What cannot be known is not counted: of a replica that is gone when the server comes back, the time after the last
//! checkpoint; and after a restart of the machine the time between the last checkpoint and its end.
//!
//! Deliberately absent: charging anybody.

mod count;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use super::domain::{Instance, Price};
use super::runtime::{InstanceEvent, Runtime, RuntimeError};
use super::store::{Meter, Settlement, Store, StoreError};

pub use count::{count, day_of};

/// How often the use of running replicas is written down.
const CHECKPOINT: Duration = Duration::from_secs(60);

/// Counts, until it is closed.
pub struct Metering {
    task: JoinHandle<()>,
    closed: CancellationToken,
}

/// Why counting cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum MeteringError {
    /// The database's refusal.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The runtime's.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

impl Metering {
    /// Goes on where the last server's stopped. Returns when what ran without a server is counted.
    pub async fn start(
        store: Store,
        runtime: Arc<dyn Runtime>,
        clock: Clock,
        price: Price,
    ) -> Result<Self, MeteringError> {
        // Subscribed before listing: what happens in between is heard twice, not missed.
        let events = runtime.watch();
        let mut counter = Counter { store, runtime, clock, price, running: HashMap::new() };
        counter.resume().await?;
        let closed = CancellationToken::new();
        let task = tokio::spawn(counter.run(events, closed.clone()));
        Ok(Self { task, closed })
    }

    /// Counts up to now and stops counting. What still runs is counted on by the next server.
    pub async fn close(self) {
        self.closed.cancel();
        let _ = self.task.await;
    }
}

struct Counter {
    store: Store,
    runtime: Arc<dyn Runtime>,
    clock: Clock,
    price: Price,
    running: HashMap<String, Running>,
}

struct Running {
    meter: Meter,
    /// When it ended, on the monotonic clock.
    ended: Option<Duration>,
}

impl Counter {
    async fn resume(&mut self) -> Result<(), MeteringError> {
        let now = self.clock.moment();
        for meter in self.store.meters().await? {
            let this_boot = meter.boot == *now.boot;
            let since = if this_boot { meter.since.min(now.elapsed) } else { now.elapsed };
            let meter = Meter { boot: now.boot.to_string(), since, ..meter };
            self.running.insert(meter.instance.clone(), Running { meter, ended: None });
        }
        let there = self.runtime.instances().await?;
        let names: BTreeSet<_> = there.iter().map(|instance| instance.name.clone()).collect();
        for (name, running) in &mut self.running {
            // When it ended nobody saw.
            running.ended = (!names.contains(name)).then_some(running.meter.since);
        }
        for instance in there {
            self.begin(instance).await;
        }
        Ok(self.settle(None).await?)
    }

    async fn run(mut self, mut events: Receiver<InstanceEvent>, closed: CancellationToken) {
        let mut ticks = tokio::time::interval(CHECKPOINT);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ticks.reset();
        loop {
            let touched = tokio::select! {
                event = events.recv() => match event {
                    Ok(event) => Some(self.take_in(event, &mut events).await),
                    Err(RecvError::Lagged(_)) => self.list().await,
                    Err(RecvError::Closed) => break,
                },
                _ = ticks.tick() => None,
                () = closed.cancelled() => break,
            };
            self.write(touched.as_ref()).await;
        }
        while let Ok(event) = events.try_recv() {
            self.observe(event).await;
        }
        self.write(None).await;
    }

    /// An event, and all that have come with it: one transaction for a whole rollout.
    async fn take_in(&mut self, first: InstanceEvent, events: &mut Receiver<InstanceEvent>) -> BTreeSet<String> {
        let mut touched = BTreeSet::new();
        let mut next = Some(first);
        while let Some(event) = next {
            touched.extend(self.observe(event).await);
            next = events.try_recv().ok();
        }
        touched
    }

    /// The name, if it is new or gone.
    async fn observe(&mut self, event: InstanceEvent) -> Option<String> {
        match event {
            InstanceEvent::Changed(instance) => self.begin(instance).await,
            InstanceEvent::Gone(instance) => {
                let now = self.clock.moment().elapsed;
                let running = self.running.get_mut(&instance.name)?;
                running.ended.get_or_insert(now);
                Some(instance.name)
            }
        }
    }

    /// After events were missed: everything is looked at again.
    async fn list(&mut self) -> Option<BTreeSet<String>> {
        let there = match self.runtime.instances().await {
            Ok(there) => there,
            Err(error) => {
                tracing::error!(%error, "The runtime's instances could not be listed to be metered.");
                return None;
            }
        };
        let now = self.clock.moment().elapsed;
        let names: BTreeSet<_> = there.iter().map(|instance| instance.name.clone()).collect();
        for (_, running) in self.running.iter_mut().filter(|(name, _)| !names.contains(*name)) {
            running.ended.get_or_insert(now);
        }
        for instance in there {
            self.begin(instance).await;
        }
        None
    }

    async fn begin(&mut self, instance: Instance) -> Option<String> {
        if self.running.contains_key(&instance.name) {
            return None;
        }
        let now = self.clock.moment();
        let app = match self.store.app_by_name(&instance.workload.app).await {
            Ok(app) => app,
            Err(StoreError::NotFound) => return None,
            Err(error) => {
                tracing::error!(%error, instance.name, "A replica is not metered before its next event.");
                return None;
            }
        };
        let meter = Meter {
            instance: instance.name.clone(),
            owner: app.owner,
            app: app.id,
            app_name: app.name,
            size: instance.size,
            boot: now.boot.to_string(),
            since: now.elapsed,
        };
        self.running.insert(instance.name.clone(), Running { meter, ended: None });
        Some(instance.name)
    }

    async fn write(&mut self, touched: Option<&BTreeSet<String>>) {
        if touched.is_some_and(BTreeSet::is_empty) {
            return;
        }
        if let Err(error) = self.settle(touched).await {
            tracing::error!(%error, "Use was not written down; it will be at the next checkpoint.");
        }
    }

    /// Writes down the use of these replicas, or of all.
    async fn settle(&mut self, touched: Option<&BTreeSet<String>>) -> Result<(), StoreError> {
        let (now, wall) = (self.clock.moment().elapsed, self.clock.now());
        let wanted = |name: &String| touched.is_none_or(|touched| touched.contains(name));
        let settlement = |running: &Running| {
            let until = running.ended.unwrap_or(now).max(running.meter.since);
            let end = wall - now.saturating_sub(until);
            let days = count(running.meter.size, running.meter.since, until, end, self.price);
            let meter = Meter { since: until, ..running.meter.clone() };
            Settlement { meter, days, ended: running.ended.is_some() }
        };
        let settlements: Vec<_> =
            self.running.iter().filter(|(name, _)| wanted(name)).map(|(_, running)| settlement(running)).collect();
        if settlements.is_empty() {
            return Ok(());
        }
        self.store.settle_meters(settlements.clone()).await?;
        for Settlement { meter, ended, .. } in settlements {
            match (ended, self.running.get_mut(&meter.instance)) {
                (true, _) => drop(self.running.remove(&meter.instance)),
                (false, Some(running)) => running.meter = meter,
                (false, None) => {}
            }
        }
        Ok(())
    }
}
