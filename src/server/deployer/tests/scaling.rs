use super::*;
use crate::server::domain::Size;

#[tokio::test]
async fn to_nothing_and_back() {
    let world = World::new().await;
    let server = world.server().await;
    let scale = |count| server.scale(world.app.id, counts(&[("web", count)]), None, ME.to_owned());
    world.push(&server, "web: serve").await.unwrap();
    scale(0).await.unwrap();
    world.check_invariants(&server).await;
    assert_eq!(world.shown(&server).await, "ScaledToZero | ");
    world.push(&server, "web: serve again").await.unwrap();
    assert_eq!(world.shown(&server).await, "ScaledToZero | ", "a deploy does not wake it");
    scale(2).await.unwrap();
    world.check_invariants(&server).await;
    assert_eq!(world.shown(&server).await, "shop-web-4-1 shop-web-4-2 | web.1@v2 web.2@v2");
    assert_eq!(world.states().await, "v2:live v1:superseded", "scaling makes no release");
}

#[tokio::test]
async fn fewer_replicas_go_only_when_their_visitors_have_left() {
    let world = World::new().await;
    let server = world.server().await;
    let scale = |count| server.scale(world.app.id, counts(&[("web", count)]), None, ME.to_owned());
    world.push(&server, "web: serve").await.unwrap();
    scale(3).await.unwrap();
    eventually(|| async { route(&server) == "shop-web-1-1 shop-web-1-2 shop-web-1-3" }).await;
    world.gate.shut();
    scale(1).await.unwrap();
    assert_eq!(world.shown(&server).await, "shop-web-1-1 | web.1@v1 web.2@v1 web.3@v1");
    // More again before they have gone: the latest wish counts.
    scale(2).await.unwrap();
    world.gate.open();
    eventually(|| async { world.shown(&server).await == "shop-web-1-1 shop-web-1-2 | web.1@v1 web.2@v1" }).await;
    world.check_invariants(&server).await;
}

#[tokio::test]
async fn another_size_is_a_new_generation() {
    let world = World::new().await;
    let server = world.server().await;
    world.push(&server, "web: serve, worker: serve").await.unwrap();
    server.scale(world.app.id, counts(&[("worker", 1)]), None, ME.to_owned()).await.unwrap();
    server.scale(world.app.id, counts(&[]), Some(Size::from_milli(1000)), ME.to_owned()).await.unwrap();
    world.check_invariants(&server).await;
    let stored = world.store.all_workloads().await.unwrap();
    for workload in &stored {
        assert_eq!(world.releases.open_workload(workload).unwrap().size, Size::from_milli(1000));
    }
    assert_eq!(stored.len(), 2);
    let gap = ["Failing", "ScaledToZero"];
    assert!(!history(&server).iter().any(|route| gap.contains(&route.as_str())), "{:?}", history(&server));
}

#[tokio::test]
async fn what_cannot_start_is_not_wished() {
    let world = World::new().await;
    let server = world.server().await;
    world.push(&server, "web: serve, worker: crash").await.unwrap();
    let error = server.scale(world.app.id, counts(&[("web", 2), ("worker", 1)]), None, ME.to_owned()).await;
    assert!(matches!(error, Err(DeployError::Unhealthy(_))), "{error:?}");
    world.check_invariants(&server).await;
    assert_eq!(world.shown(&server).await, "shop-web-1-1 | web.1@v1");
    assert_eq!(world.app_now().await.formation.replicas_of(&ProcessType::web()), 1);
    let error = server.scale(world.app.id, counts(&[("clock", 1)]), None, ME.to_owned()).await.unwrap_err();
    assert_eq!(error.to_string(), "replicas of `clock`: there is no such process type, only web, worker");
}
