use std::collections::BTreeMap;

use super::*;
use crate::server::domain::{
    App, AppName, HealthCheck, ProcessType, ReleaseVersion, Size, SlugDigest, Stack, UserId, Workload, WorkloadId,
};
use crate::server::runtime::memory::Memory;
use crate::server::store::testing;

/// More than any test takes, far less than what is let pass.
const SLACK: f64 = 250.0;

struct World {
    store: Store,
    runtime: Arc<Memory>,
    clock: Clock,
    owner: UserId,
    app: App,
    metering: Option<Metering>,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let (store, folder) = testing::open().await;
        let owner = testing::user(&store, "ada@example.com").await;
        let app =
            store.create_app(owner, AppName::parse("hill").unwrap(), Stack::local(), |_| Vec::new()).await.unwrap();
        let (runtime, clock) = (Arc::new(Memory::new()), Clock::system());
        let mut world = Self { store, runtime, clock, owner, app, metering: None, _folder: folder };
        world.start().await;
        world
    }

    async fn start(&mut self) {
        let price = Price::parse(0.01).unwrap();
        let metering =
            Metering::start(self.store.clone(), self.runtime.clone(), self.clock.clone(), price).await.unwrap();
        self.metering = Some(metering);
    }

    /// As `kill -9` would: nothing more is written.
    async fn kill(&mut self) {
        let metering = self.metering.take().unwrap();
        metering.task.abort();
        let _ = metering.task.await;
    }

    fn workload(&self, replicas: u32) -> Workload {
        Workload {
            arguments: Vec::new(),
            lifetime: Default::default(),
            id: WorkloadId { app: self.app.name.clone(), process: ProcessType::web(), generation: 1 },
            release: ReleaseVersion(1),
            replicas,
            slug: SlugDigest::parse(&"a".repeat(64)).unwrap(),
            stack: Stack::local(),
            command: "serve".to_owned(),
            env: BTreeMap::new(),
            size: Size::from_milli(500),
            health: HealthCheck::Tcp,
        }
    }

    /// Returns when so many meters are in the database.
    async fn scale(&self, replicas: u32) {
        self.runtime.apply(&self.workload(replicas)).await.unwrap();
        for _ in 0..1000 {
            if self.store.meters().await.unwrap().len() == replicas as usize {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} meters", self.store.meters().await.unwrap().len());
    }

    fn pass(&self, seconds: u64) {
        self.clock.pass(Duration::from_secs(seconds));
    }

    /// What is written down, in replica-size-seconds, after the server has ended well.
    async fn used(&mut self) -> f64 {
        if let Some(metering) = self.metering.take() {
            metering.close().await;
        }
        let (used, _) = self.store.usage(self.owner, i64::MIN, i64::MAX).await.unwrap();
        used.iter().map(|used| used.amount.used as f64 / 1e6).sum()
    }
}

#[track_caller]
fn about(found: f64, wanted: f64) {
    assert!((wanted..wanted + SLACK).contains(&found), "{found} instead of {wanted}");
}

#[tokio::test]
async fn every_replica_counts_from_its_first_event_to_its_last() {
    let mut world = World::new().await;
    world.scale(2).await;
    world.pass(10_000);
    world.scale(1).await;
    world.pass(20_000);
    let name = world.runtime.instances().await.unwrap()[0].name.clone();
    world.runtime.crash(&name);
    world.pass(4_000);
    world.scale(0).await;
    world.pass(50_000);
    about(world.used().await, 0.5 * (2.0 * 10_000.0 + 20_000.0 + 4_000.0));
    let (used, meters) = world.store.usage(world.owner, i64::MIN, i64::MAX).await.unwrap();
    assert!(meters.is_empty() && used.iter().all(|used| used.app_name == "hill"), "{meters:?} {used:?}");
    let cost: f64 = used.iter().map(|used| used.amount.cost as f64 / 1e9).sum();
    about(cost, 22_000.0);
}

#[tokio::test]
async fn a_clock_that_is_set_neither_adds_nor_loses() {
    let mut world = World::new().await;
    world.scale(1).await;
    world.pass(1_000);
    world.clock.advance(Duration::from_secs(40 * 86_400));
    world.pass(1_000);
    world.kill().await;
    world.clock.set_back(Duration::from_secs(400 * 86_400));
    world.start().await;
    world.pass(1_000);
    world.clock.set_back(Duration::from_secs(3600));
    about(world.used().await, 0.5 * 3_000.0);
}

#[tokio::test]
async fn nothing_is_lost_or_counted_twice_when_the_server_is_killed() {
    let mut world = World::new().await;
    world.scale(2).await;
    for _ in 0..10 {
        world.pass(700);
        world.kill().await;
        world.pass(300);
        world.start().await;
    }
    about(world.used().await, 0.5 * 2.0 * 10_000.0);
    // And where one ends well.
    world.pass(5_000);
    world.start().await;
    about(world.used().await, 15_000.0);
}

#[tokio::test]
async fn what_nobody_saw_is_not_counted() {
    let mut world = World::new().await;
    world.scale(2).await;
    world.pass(1_000);
    world.metering.take().unwrap().close().await;
    world.runtime.apply(&world.workload(1)).await.unwrap();
    world.pass(5_000);
    world.start().await;
    assert_eq!(world.store.meters().await.unwrap().len(), 1);
    about(world.used().await, 0.5 * (2.0 * 1_000.0 + 5_000.0));

    world.pass(9_000);
    world.clock.reboot();
    world.start().await;
    world.pass(2_000);
    about(world.used().await, 0.5 * (2.0 * 1_000.0 + 5_000.0 + 2_000.0));
}

#[tokio::test]
async fn a_destroyed_app_keeps_its_use_and_a_destroyed_account_does_not() {
    let mut world = World::new().await;
    world.scale(1).await;
    world.pass(1_000);
    world.runtime.remove(&world.workload(1).id, Duration::ZERO).await.unwrap();
    world.store.delete_app(world.app.id).await.unwrap();
    about(world.used().await, 500.0);
    assert!(world.store.destroy_user(world.owner).await.unwrap());
    assert_eq!(world.used().await, 0.0);
}
