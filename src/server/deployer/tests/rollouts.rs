use super::*;
use crate::server::deployer::Effect;
use crate::server::domain::{ReleaseVersion, Size};
use crate::server::releases::{ReleaseError, Target};

#[tokio::test]
async fn visitors_go_from_old_to_new_without_a_gap() {
    let world = World::new().await;
    let server = world.server().await;
    assert_eq!(world.shown(&server).await, "NothingDeployed | ");
    world.push(&server, "web: serve 1").await.unwrap();
    world.gate.shut();
    world.push(&server, "web: serve 2, worker: serve").await.unwrap();
    assert_eq!(world.shown(&server).await, "shop-web-2-1 | web.1@v1 web.1@v2", "the old one drains beside the new");
    world.gate.open();
    world.check_invariants(&server).await;
    assert_eq!(world.shown(&server).await, "shop-web-2-1 | web.1@v2");
    assert_eq!(world.states().await, "v2:live v1:superseded");
    assert_eq!(history(&server), ["NothingDeployed", "shop-web-1-1", "shop-web-2-1"]);
}

#[tokio::test]
async fn the_next_change_does_not_wait_for_the_old_to_drain() {
    let world = World::new().await;
    let server = world.server().await;
    world.push(&server, "web: serve 1").await.unwrap();
    world.gate.shut();
    world.push(&server, "web: serve 2").await.unwrap();
    world.push(&server, "web: serve 3").await.unwrap();
    assert_eq!(world.shown(&server).await, "shop-web-3-1 | web.1@v1 web.1@v2 web.1@v3");
    world.gate.open();
    world.check_invariants(&server).await;
    assert_eq!(world.shown(&server).await, "shop-web-3-1 | web.1@v3");
}

#[tokio::test]
async fn a_crash_at_boot_is_told_at_once_and_the_old_stays() {
    let world = World::new().await;
    let server = world.server().await;
    world.push(&server, "web: serve").await.unwrap();
    let error = world.push(&server, "web: crash").await.unwrap_err();
    let DeployError::Unhealthy(failure) = &error else { panic!("{error}") };
    assert!(matches!(failure.check, FailedCheck::Ended(_)));
    assert_eq!(failure.last_lines, ["shop-web-2-1 said 50 things"]);
    world.check_invariants(&server).await;
    assert_eq!(world.shown(&server).await, "shop-web-1-1 | web.1@v1");
    assert_eq!(world.states().await, "v2:failed v1:live");
    assert_eq!(history(&server), ["NothingDeployed", "shop-web-1-1"]);
    assert!(world.log.0.lock().unwrap().iter().any(|line| line.contains("Release v2 failed: `web` ended with code 1")));
}

#[tokio::test]
async fn one_bad_replica_of_many_processes_undoes_all_of_them() {
    let world = World::new().await;
    let server = world.server().await;
    world.push(&server, "web: serve, worker: serve").await.unwrap();
    server.scale(world.app.id, counts(&[("web", 2), ("worker", 1)]), None, ME.to_owned()).await.unwrap();
    world.push(&server, "web: serve, worker: crash").await.unwrap_err();
    world.check_invariants(&server).await;
    assert_eq!(world.shown(&server).await, "shop-web-1-1 shop-web-1-2 | web.1@v1 web.2@v1 worker.1@v1");
}

#[tokio::test]
async fn who_never_listens_is_given_up() {
    let world = World::new().await;
    let server = world.server().await;
    let error = world.push(&server, "web: hang").await.unwrap_err();
    assert_eq!(error.to_string(), "`web` did not listen on its PORT within 200 ms");
    world.check_invariants(&server).await;
    assert_eq!(world.shown(&server).await, "NothingDeployed | ");
    // An app may ask for another patience and another check.
    let wanted = vars(&[(HEALTH_TIMEOUT, "1"), (HEALTH_PATH, "/up")]);
    server.set_config(world.app.id, wanted, Effect::Restart, ME.to_owned()).await.unwrap();
    let error = world.push(&server, "web: hang").await.unwrap_err();
    assert_eq!(error.to_string(), "`web` did not answer GET /up with 200 to 399 within 1 second");
}

#[tokio::test]
async fn who_goes_away_cancels_until_the_commit() {
    let world = World::new().await;
    let server = world.server().await;
    let (progress, listener) = Progress::channel();
    let slug = slug("web: hang");
    let id = world.store.record_slug(world.app.id, slug.clone()).await.unwrap();
    let deploy =
        Deploy { app: world.app.id, slug: (id, slug), by: ME.to_owned(), push: None, before_commit: None, hot: None };
    let leave = async {
        eventually(|| async { !world.runtime.instances().await.unwrap().is_empty() }).await;
        drop(listener);
    };
    let (outcome, ()) = tokio::join!(server.deploy(deploy, &progress), leave);
    assert!(matches!(outcome, Err(DeployError::Cancelled)), "{outcome:?}");
    world.check_invariants(&server).await;
    assert_eq!(world.states().await, "v1:failed");
}

#[tokio::test]
async fn what_cannot_be_kept_is_not_committed() {
    let world = World::new().await;
    let server = world.server().await;
    world.push(&server, "web: serve 1").await.unwrap();
    let slug = slug("web: serve 2");
    let id = world.store.record_slug(world.app.id, slug.clone()).await.unwrap();
    let before_commit: Option<BeforeCommit> = Some(Box::pin(async { Err("the disk is full".to_owned()) }));
    let deploy =
        Deploy { app: world.app.id, slug: (id, slug), by: ME.to_owned(), push: None, before_commit, hot: None };
    let refused = server.deploy(deploy, &Progress::silent()).await;
    assert!(matches!(refused, Err(DeployError::Source(_))), "{refused:?}");
    world.check_invariants(&server).await;
    assert_eq!(world.shown(&server).await, "shop-web-1-1 | web.1@v1");
}

#[tokio::test]
async fn changes_of_one_app_queue() {
    let world = World::new().await;
    let server = world.server().await;
    let (first, second) = tokio::join!(world.push(&server, "web: serve 1"), world.push(&server, "web: serve 2"));
    let versions = [first.unwrap().version, second.unwrap().version];
    assert!(versions.contains(&ReleaseVersion(1)) && versions.contains(&ReleaseVersion(2)), "{versions:?}");
    world.check_invariants(&server).await;
    assert_eq!(world.shown(&server).await, "shop-web-2-1 | web.1@v2");
}

#[tokio::test]
async fn a_replica_that_crashes_gets_no_visitors_until_it_is_back() {
    let world = World::new().await;
    let server = world.server().await;
    world.push(&server, "web: serve").await.unwrap();
    server.scale(world.app.id, counts(&[("web", 2)]), None, ME.to_owned()).await.unwrap();
    eventually(|| async { route(&server) == "shop-web-1-1 shop-web-1-2" }).await;
    world.runtime.crash("shop-web-1-1");
    eventually(|| async { route(&server) == "shop-web-1-2" }).await;
    world.runtime.crash("shop-web-1-2");
    eventually(|| async { route(&server) == "Failing" }).await;
    world.runtime.become_ready("shop-web-1-1");
    eventually(|| async { route(&server) == "shop-web-1-1" }).await;
}

#[tokio::test]
async fn config_makes_releases_and_restarts_unless_told_not_to() {
    let world = World::new().await;
    let server = world.server().await;
    let set = |name, value, effect| server.set_config(world.app.id, vars(&[(name, value)]), effect, ME.to_owned());
    set("A", "1", Effect::Restart).await.unwrap();
    assert_eq!(world.shown(&server).await, "NothingDeployed | ", "no code, nothing runs");
    world.push(&server, "web: serve").await.unwrap();
    set("B", "2", Effect::Later).await.unwrap();
    assert_eq!(world.shown(&server).await, "shop-web-2-1 | web.1@v2", "the old replica stays");
    assert_eq!(world.releases.config(world.app.id).await.unwrap(), config_of(&[("A", "1"), ("B", "2")]));
    assert!(set("B", "2", Effect::Restart).await.unwrap().is_none(), "nothing changes, nothing happens");
    server.restart(world.app.id, ME.to_owned()).await.unwrap();
    world.check_invariants(&server).await;
    assert_eq!(world.shown(&server).await, "shop-web-4-1 | web.1@v3");
    server.unset_config(world.app.id, vec!["A".to_owned()], Effect::Restart, ME.to_owned()).await.unwrap();
    world.check_invariants(&server).await;
    assert_eq!(world.shown(&server).await, "shop-web-5-1 | web.1@v4");
    let summaries: Vec<_> =
        world.releases.list(world.app.id).await.unwrap().into_iter().map(|release| release.summary).collect();
    assert_eq!(summaries[0], "Unset `A` config var.");
    assert_eq!(summaries[1], "Set `B` config var.");
    assert!(summaries[2].starts_with("Deploy 0000000"), "{summaries:?}");
}

#[tokio::test]
async fn a_config_that_breaks_the_app_is_not_kept() {
    let world = World::new().await;
    let server = world.server().await;
    let wrong =
        server.set_config(world.app.id, vars(&[(HEALTH_PATH, "no path")]), Effect::Restart, ME.to_owned()).await;
    assert!(matches!(wrong, Err(DeployError::Invalid(_))), "{wrong:?}");
    assert_eq!(world.states().await, "", "found before anything was recorded");
    assert_eq!(world.releases.config(world.app.id).await.unwrap(), config_of(&[]));
}

#[tokio::test]
async fn a_rollback_restores_code_config_and_formation() {
    let world = World::new().await;
    let server = world.server().await;
    server.set_config(world.app.id, vars(&[("A", "old")]), Effect::Restart, ME.to_owned()).await.unwrap();
    world.push(&server, "web: serve 1").await.unwrap();
    let size = Some(Size::from_milli(700));
    server.scale(world.app.id, counts(&[("web", 3)]), size, ME.to_owned()).await.unwrap();
    server.set_config(world.app.id, vars(&[("A", "new")]), Effect::Restart, ME.to_owned()).await.unwrap();
    world.push(&server, "web: serve 2").await.unwrap();
    server.scale(world.app.id, counts(&[("web", 1)]), Some(Size::from_milli(500)), ME.to_owned()).await.unwrap();

    let back = server
        .rollback(world.app.id, Target::Version(ReleaseVersion(2)), RollbackBy::Restart, ME.to_owned())
        .await
        .unwrap();
    assert_eq!(back.version, ReleaseVersion(5));
    world.check_invariants(&server).await;
    let live = world.releases.live(world.app.id).await.unwrap().unwrap();
    assert_eq!(live.summary, "Rollback to v2.");
    assert_eq!(live.config, config_of(&[("A", "old")]));
    assert_eq!(live.slug.unwrap().processes[&ProcessType::web()], "serve 1");
    assert_eq!(world.app_now().await.formation.replicas_of(&ProcessType::web()), 3);
    assert_eq!(world.app_now().await.formation.size.milli(), 700);
    let instances = world.runtime.instances().await.unwrap();
    assert_eq!(instances.len(), 3);

    let id = world.releases.list(world.app.id).await.unwrap()[1].rollback_id;
    let back = server.rollback(world.app.id, Target::Id(id), RollbackBy::Restart, ME.to_owned()).await.unwrap();
    assert_eq!(world.store.release(world.app.id, back.version).await.unwrap().summary, "Rollback to v4.");
    let none =
        server.rollback(world.app.id, Target::Version(ReleaseVersion(1)), RollbackBy::Restart, ME.to_owned()).await;
    assert!(matches!(none, Err(DeployError::Release(ReleaseError::NoCode(_)))), "{none:?}");
    let none =
        server.rollback(world.app.id, Target::Version(ReleaseVersion(77)), RollbackBy::Restart, ME.to_owned()).await;
    assert!(matches!(none, Err(DeployError::Release(ReleaseError::NoSuchRelease))), "{none:?}");
}

#[tokio::test]
async fn the_previous_release_is_the_last_one_that_was_live() {
    let world = World::new().await;
    let server = world.server().await;
    let previous = || server.rollback(world.app.id, Target::Previous, RollbackBy::Restart, ME.to_owned());
    assert!(matches!(previous().await, Err(DeployError::Release(ReleaseError::NothingBefore))));
    world.push(&server, "web: serve 1").await.unwrap();
    world.push(&server, "web: serve 2").await.unwrap();
    world.push(&server, "web: crash").await.unwrap_err();
    previous().await.unwrap();
    let summary = &world.releases.list(world.app.id).await.unwrap()[0].summary;
    assert_eq!(summary, "Rollback to v1.", "not to the one that failed");
}

#[tokio::test]
async fn a_destroyed_app_leaves_nothing() {
    let world = World::new().await;
    let server = world.server().await;
    world.push(&server, "web: serve").await.unwrap();
    server.destroy(world.app.id, ME.to_owned()).await.unwrap();
    assert!(world.runtime.instances().await.unwrap().is_empty());
    assert!(server.routes().borrow().hosts.is_empty());
    assert!(world.store.all_apps().await.unwrap().is_empty());
    assert!(world.store.all_workloads().await.unwrap().is_empty());
    assert!(matches!(server.restart(world.app.id, ME.to_owned()).await, Err(DeployError::NotFound)));
}
