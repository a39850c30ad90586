//! Jobs over the real store and the runtime in memory. Times are handed in: an hour passes when the test says so.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

use super::*;
use crate::server::domain::{
    App, Formation, JobCommand, JobKind, JobState, Overlap, ProcessType, Schedule, ScheduleId, SchedulePlan, Slug,
    SlugDigest, SlugKind, Stack,
};
use crate::server::releases::{Blueprint, Keep, Seals};
use crate::server::runtime::memory::Memory;
use crate::server::store::{Commit, Kind, testing as stores};

use super::timing::Timing;

const ME: &str = "me@example.com";

struct Plain;

impl Seals for Plain {
    fn seal(&self, context: &str, plain: &[u8]) -> Vec<u8> {
        [context.as_bytes(), b"\0", plain].concat()
    }

    fn unseal(&self, context: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        sealed.strip_prefix(context.as_bytes())?.strip_prefix(b"\0").map(<[u8]>::to_vec)
    }
}

/// An app with a live release, and what outlives a server.
struct World {
    store: Store,
    releases: Releases,
    runtime: Arc<Memory>,
    app: App,
    folder: TempDir,
}

impl World {
    async fn new() -> Self {
        let (store, folder) = stores::open().await;
        let owner = stores::user(&store, ME).await;
        let releases = Releases::new(store.clone(), Arc::new(Plain), Keep::default());
        let (name, stack) = (AppName::parse("shop").unwrap(), Stack::parse("local").unwrap());
        let app = releases.create_app(owner, name, stack.clone()).await.unwrap();
        let slug = Slug {
            digest: SlugDigest::parse(&"a".repeat(64)).unwrap(),
            size: 1,
            sha: "b".repeat(40),
            stack,
            kind: SlugKind::Other,
            processes: BTreeMap::from([(ProcessType::web(), "serve".to_owned())]),
            customer_app_name: None,
            customer_app_version: None,
            capabilities: serde_json::Value::Null,
            schedules: Vec::new(),
        };
        let id = store.record_slug(app.id, slug.clone()).await.unwrap();
        let ground = releases.blueprint(&app).await.unwrap();
        let blueprint = Blueprint { slug: Some((id, slug)), ..ground };
        let operation = releases.begin(app.id, Kind::Deploy, ME, None, &blueprint).await.unwrap();
        let commit =
            Commit { formation: Formation::default(), retire: Vec::new(), resize: Vec::new(), renew: Vec::new() };
        store.commit(&operation, commit).await.unwrap();
        Self { store, releases, runtime: Arc::new(Memory::new()), app, folder }
    }

    /// A server that keeps no time by itself.
    async fn server(&self, at_once: usize) -> Jobs {
        let domain = Hostname::parse("example.com").unwrap();
        let settings = Settings { at_once, queued: 2, kept: 50, ..Settings::new(domain) };
        let (releases, runtime) = (&self.releases, self.runtime.clone());
        let jobs = testing::with(&self.store, releases, runtime, self.folder.path(), settings, Clock::system()).await;
        jobs.take_over().await.unwrap();
        jobs
    }

    async fn run(&self, jobs: &Jobs, word: &str) -> Result<Job, JobError> {
        let command = JobCommand::words(vec![word.to_owned()]).unwrap();
        let wish = Wish { command, size: None, limit: None, env: BTreeMap::new(), attended: false, by: ME.to_owned() };
        jobs.run(&self.app, wish).await
    }

    async fn schedule(&self, name: &str, word: &str, overlap: Overlap, catch_up: bool) {
        let plan = SchedulePlan {
            name: name.to_owned(),
            cron: "0 * * * *".to_owned(),
            tz: "UTC".to_owned(),
            command: JobCommand::words(vec![word.to_owned()]).unwrap(),
            overlap,
            catch_up,
        };
        let (app, seen_until) = (self.app.id, Timestamp::now());
        let id = ScheduleId(0);
        let by = ME.to_owned();
        let schedule = Schedule { id, app, plan, size: None, limit: None, of_code: false, by, seen_until, missed: 0 };
        self.store.add_schedule(schedule, 10).await.unwrap();
    }

    /// What became of all jobs, oldest first, when none of those that must has still to end.
    async fn shown(&self, open: usize) -> String {
        for _ in 0..1000 {
            let all = self.store.jobs_of(self.app.id, 100).await.unwrap();
            if all.iter().filter(|job| !matches!(job.state, JobState::Ended(_))).count() <= open {
                let word = |job: &Job| match &job.state {
                    JobState::Queued => "queued",
                    JobState::Running => "running",
                    JobState::Ended(end) => end.outcome.as_str(),
                };
                return all.iter().rev().map(word).collect::<Vec<_>>().join(" ");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("jobs go on: {:#?}", self.store.jobs_of(self.app.id, 100).await);
    }
}

/// The first full hour after now, and those after it.
fn hour(number: i64) -> Timestamp {
    let hourly: Timing = "0 * * * *".parse().unwrap();
    hourly.next_after(Timestamp::now()).unwrap() + SignedDuration::from_hours(number)
}

#[tokio::test]
async fn jobs_take_turns_and_each_end_is_recorded() {
    let world = World::new().await;
    let jobs = world.server(1).await;
    let first = world.run(&jobs, "hang").await.unwrap();
    world.run(&jobs, "done").await.unwrap();
    world.run(&jobs, "crash").await.unwrap();
    assert!(matches!(world.run(&jobs, "done").await, Err(JobError::Full(2))));
    assert_eq!(world.shown(3).await, "running queued queued");
    assert!(jobs.stop(first.id).await.unwrap());
    assert_eq!(world.shown(0).await, "Stopped Completed Error");
    assert!(!jobs.stop(first.id).await.unwrap(), "it has ended already");
    let runtime: &dyn Runtime = &*world.runtime;
    for _ in 0..1000 {
        if runtime.instances().await.unwrap().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("instances are left");
}

#[tokio::test]
async fn a_next_server_takes_over_what_runs_and_what_waits() {
    let world = World::new().await;
    let jobs = world.server(1).await;
    let first = world.run(&jobs, "hang").await.unwrap();
    world.run(&jobs, "done").await.unwrap();
    jobs.close().await;
    let jobs = world.server(1).await;
    assert_eq!(world.shown(2).await, "running queued");
    jobs.stop(first.id).await.unwrap();
    assert_eq!(world.shown(0).await, "Stopped Completed");
}

#[tokio::test]
async fn a_release_phase_that_was_cut_off_is_ended() {
    let world = World::new().await;
    let jobs = world.server(1).await;
    let live = world.releases.live(world.app.id).await.unwrap().unwrap();
    let phase = Phase {
        line: "hang".to_owned(),
        version: live.version,
        slug: live.slug.unwrap(),
        config: live.config,
        by: ME.to_owned(),
    };
    let (app, that) = (world.app.clone(), jobs.clone());
    let waiting = tokio::spawn(async move {
        let _ = that.release(&app, phase, &crate::server::progress::Progress::silent()).await;
    });
    for _ in 0..1000 {
        if world.runtime.instances().await.unwrap().len() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    waiting.abort();
    jobs.close().await;
    let _jobs = world.server(1).await;
    assert_eq!(world.shown(0).await, "Stopped");
    assert_eq!(world.store.jobs_of(world.app.id, 9).await.unwrap()[0].kind, JobKind::Release);
}

#[tokio::test]
async fn what_is_due_runs_and_is_dealt_with_once() {
    let world = World::new().await;
    let jobs = world.server(5).await;
    world.schedule("hourly", "done", Overlap::Skip, false).await;
    assert_eq!(jobs.set_going(Timestamp::now()).await.unwrap(), Some(hour(0)));
    assert_eq!(world.shown(0).await, "");
    for _ in 0..2 {
        assert_eq!(jobs.set_going(hour(0)).await.unwrap(), Some(hour(1)));
    }
    assert_eq!(world.shown(0).await, "Completed");
}

#[tokio::test]
async fn missed_runs_are_recorded_and_made_up_for_if_wished() {
    let world = World::new().await;
    let jobs = world.server(5).await;
    world.schedule("plain", "done", Overlap::Skip, false).await;
    world.schedule("careful", "done", Overlap::Skip, true).await;
    jobs.set_going(hour(2) + SignedDuration::from_mins(10)).await.unwrap();
    assert_eq!(world.shown(0).await, "Missed Missed Completed");
    let all = world.store.jobs_of(world.app.id, 9).await.unwrap();
    assert!(all[2].detail.as_deref().is_some_and(|detail| detail.starts_with("3 runs, due")), "{all:#?}");
    let missed: Vec<u32> = world.store.all_schedules().await.unwrap().iter().map(|s| s.missed).collect();
    assert_eq!(missed, [3, 3]);
}

#[tokio::test]
async fn overlap_is_as_the_schedule_says() {
    for (overlap, expected) in [
        (Overlap::Skip, "running Skipped Skipped"),
        (Overlap::Queue, "running queued Skipped"),
        (Overlap::Allow, "running running running"),
    ] {
        let world = World::new().await;
        let jobs = world.server(5).await;
        world.schedule("slow", "hang", overlap, false).await;
        for number in 0..3 {
            jobs.set_going(hour(number)).await.unwrap();
        }
        assert_eq!(world.shown(3).await, expected);
        let first = world.store.jobs_of(world.app.id, 9).await.unwrap().pop().unwrap();
        jobs.stop(first.id).await.unwrap();
        let after = match overlap {
            Overlap::Skip => "Stopped Skipped Skipped",
            Overlap::Queue => "Stopped running Skipped",
            Overlap::Allow => "Stopped running running",
        };
        for _ in 0..1000 {
            if world.shown(3).await == after {
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(world.shown(3).await, after);
    }
}

#[tokio::test]
async fn a_clock_that_was_set_far_back_does_not_silence_a_schedule() {
    let world = World::new().await;
    let jobs = world.server(5).await;
    world.schedule("hourly", "done", Overlap::Skip, false).await;
    jobs.set_going(hour(500)).await.unwrap();
    assert_eq!(world.shown(0).await, "Missed Completed");
    assert_eq!(jobs.set_going(hour(3)).await.unwrap(), Some(hour(4)), "it begins anew");
    jobs.set_going(hour(4)).await.unwrap();
    assert_eq!(world.shown(0).await, "Missed Completed Completed");
}
