//! A server killed at every step, in each kind of operation; the next one finds no half of anything.

use super::*;
use crate::server::domain::Size;
use crate::server::releases::Target;
use crate::server::steps::testing::{die_at, has_died};
use crate::server::store::PushRef;

const BEFORE_THE_COMMIT: &[&str] = &["release.recorded", "deploy.started", "deploy.healthy"];
const AFTER_THE_COMMIT: &[&str] = &["deploy.committed", "deploy.swapped", "deploy.drained", "deploy.finished"];

/// What is asked for, after two releases: v1 `serve 1` with A=1, v2 `serve 2` with A=2.
#[derive(Debug, Clone, Copy)]
enum Asked {
    Deploy,
    Rollback,
    Config,
    Restart,
    Resize,
}

impl Asked {
    const ALL: [Self; 5] = [Self::Deploy, Self::Rollback, Self::Config, Self::Restart, Self::Resize];

    async fn ask(self, world: &World, server: &Deployer) -> Result<(), DeployError> {
        let (app, me) = (world.app.id, ME.to_owned());
        match self {
            Self::Deploy => world.push(server, "web: serve 3").await.map(drop),
            Self::Rollback => server.rollback(app, Target::Previous, RollbackBy::Restart, me).await.map(drop),
            Self::Config => server.set_config(app, vars(&[("A", "3")]), Effect::Restart, me).await.map(drop),
            Self::Restart => server.restart(app, me).await,
            Self::Resize => server.scale(app, counts(&[("web", 2)]), Some(Size::from_milli(900)), me).await.map(drop),
        }
    }

    fn makes_release(self) -> bool {
        matches!(self, Self::Deploy | Self::Rollback | Self::Config)
    }
}

async fn two_releases() -> World {
    let world = World::new().await;
    let server = world.server().await;
    server.set_config(world.app.id, vars(&[("A", "1")]), Effect::Restart, ME.to_owned()).await.unwrap();
    world.push(&server, "web: serve 1").await.unwrap();
    world.push(&server, "web: serve 2").await.unwrap();
    world.check_invariants(&server).await;
    kill(&server);
    world
}

/// Ends a server's background work without letting it finish anything.
fn kill(server: &Deployer) {
    server.0.stop.cancel();
}

/// Asks, dies at the step, starts the next server; returns it.
async fn die_and_start_anew(world: &World, asked: Asked, step: &'static str) -> Deployer {
    let server = world.server().await;
    die_at(Some(step));
    let _ = asked.ask(world, &server).await;
    eventually(|| async { has_died() }).await;
    kill(&server);
    assert!(!history(&server).iter().any(|r| r == "Failing" || r == "ScaledToZero"), "{asked:?} {step}");
    let next = world.server().await;
    assert!(history(&next).iter().all(|r| r.starts_with("shop-web-")), "{asked:?} {step}: {:?}", history(&next));
    next
}

#[tokio::test]
async fn before_the_commit_it_never_happened() {
    for asked in Asked::ALL {
        for step in BEFORE_THE_COMMIT {
            if *step == "release.recorded" && !asked.makes_release() {
                continue;
            }
            let world = two_releases().await;
            let before = (world.app_now().await.live, world.shown(&world.server().await).await);
            let server = die_and_start_anew(&world, asked, step).await;
            world.check_invariants(&server).await;
            let after = (world.app_now().await.live, world.shown(&server).await);
            assert_eq!(before, after, "{asked:?} killed at {step}");
            if asked.makes_release() {
                assert!(world.states().await.starts_with("v4:failed v3:live"), "{}", world.states().await);
            }
            asked.ask(&world, &server).await.unwrap();
            world.check_invariants(&server).await;
        }
    }
}

#[tokio::test]
async fn after_the_commit_it_is_finished() {
    for asked in Asked::ALL {
        for step in AFTER_THE_COMMIT {
            let world = two_releases().await;
            let server = die_and_start_anew(&world, asked, step).await;
            world.check_invariants(&server).await;
            let replicas = if matches!(asked, Asked::Resize) { 2 } else { 1 };
            let generations: Vec<_> = world.store.all_workloads().await.unwrap().into_iter().map(|w| w.id).collect();
            assert_eq!(generations.len(), 1, "{asked:?} killed at {step}");
            assert_eq!(generations[0].generation, 4, "{asked:?} killed at {step}");
            let serving = route(&server).split(' ').filter(|name| name.starts_with("shop-web-4-")).count();
            assert_eq!(serving, replicas, "{asked:?} killed at {step}: {}", route(&server));
            if asked.makes_release() {
                assert!(world.states().await.starts_with("v4:live v3:superseded"), "{}", world.states().await);
            }
        }
    }
}

#[tokio::test]
async fn a_failed_rollout_that_was_cut_off_stays_failed() {
    let world = two_releases().await;
    let server = world.server().await;
    die_at(Some("undo.recorded"));
    let _ = world.push(&server, "web: crash").await;
    assert!(has_died());
    kill(&server);
    let server = world.server().await;
    world.check_invariants(&server).await;
    assert_eq!(world.shown(&server).await, "shop-web-3-1 | web.1@v3");
}

#[tokio::test]
async fn fewer_replicas_stay_fewer() {
    let world = two_releases().await;
    let server = world.server().await;
    server.scale(world.app.id, counts(&[("web", 3)]), None, ME.to_owned()).await.unwrap();
    eventually(|| async { route(&server).split(' ').count() == 3 }).await;
    world.gate.shut();
    die_at(Some("deploy.committed"));
    let _ = server.scale(world.app.id, counts(&[("web", 1)]), None, ME.to_owned()).await;
    kill(&server);
    world.gate.open();
    let server = world.server().await;
    eventually(|| async { world.shown(&server).await == "shop-web-3-1 | web.1@v3" }).await;
    world.check_invariants(&server).await;
}

#[tokio::test]
async fn a_destruction_is_finished() {
    for step in ["destroy.started", "destroy.finished"] {
        let world = two_releases().await;
        let server = world.server().await;
        die_at(Some(step));
        let _ = server.destroy(world.app.id, ME.to_owned()).await;
        assert!(has_died());
        kill(&server);
        let server = world.server().await;
        eventually(|| async { world.store.all_apps().await.unwrap().is_empty() }).await;
        eventually(|| async { world.runtime.instances().await.unwrap().is_empty() }).await;
        assert!(server.routes().borrow().hosts.is_empty(), "{step}");
    }
}

#[tokio::test]
async fn a_push_that_was_committed_moves_its_ref() {
    let world = two_releases().await;
    let server = world.server().await;
    let slug = slug("web: serve 3");
    let id = world.store.record_slug(world.app.id, slug.clone()).await.unwrap();
    let push = PushRef { reference: "refs/heads/main".to_owned(), commit: slug.sha.clone() };
    let deploy = Deploy {
        app: world.app.id,
        slug: (id, slug),
        by: ME.to_owned(),
        push: Some(push.clone()),
        before_commit: None,
        hot: None,
    };
    die_at(Some("deploy.swapped"));
    let _ = server.deploy(deploy, &Progress::silent()).await;
    assert!(has_died());
    kill(&server);

    let server = world.server().await;
    let found = server.recover().await.unwrap();
    assert_eq!(found.refs.len(), 1);
    assert_eq!((&found.refs[0].push, &found.refs[0].app), (&push, &world.app.name));
    server.ref_moved(found.refs[0].operation).await.unwrap();
    assert!(server.recover().await.unwrap().refs.is_empty());
    world.check_invariants(&server).await;
}

#[tokio::test]
async fn replicas_that_the_database_does_not_know_are_removed() {
    let world = two_releases().await;
    let stored = world.store.all_workloads().await.unwrap();
    let mut stranger = world.releases.open_workload(&stored[0]).unwrap();
    stranger.id.generation = 99;
    world.runtime.apply(&stranger).await.unwrap();
    let server = world.server().await;
    eventually(|| async { world.shown(&server).await == "shop-web-3-1 | web.1@v3" }).await;
}

#[tokio::test]
async fn replicas_that_the_machine_lost_are_made_again() {
    let world = two_releases().await;
    let stored = world.store.all_workloads().await.unwrap();
    world.runtime.remove(&stored[0].id, Duration::ZERO).await.unwrap();
    let server = world.server().await;
    eventually(|| async { world.shown(&server).await == "shop-web-3-1 | web.1@v3" }).await;
}
