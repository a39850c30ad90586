use super::*;
use crate::server::deployer::{Effect, Hot};
use crate::server::domain::{Refusal, UpgradePlan, UpgradeScripts};

/// Pushes code to running nodes, by a plan that is refused for `reason` or can be carried out; the refusals' kinds, and
/// all that is told.
async fn push_hot(world: &World, server: &Deployer, procfile: &str, reason: Option<&str>) -> (Vec<String>, String) {
    let slug = slug(procfile);
    let id = world.store.record_slug(world.app.id, slug.clone()).await.unwrap();
    let refusal = |text: &str| Refusal { what: "version".into(), text: text.into(), fix: "raise it".into() };
    let mut plan = UpgradePlan::refused("1", "2", refusal(reason.unwrap_or_default()));
    if reason.is_none() {
        let none = || "[].".to_owned();
        plan.refusals.clear();
        plan.scripts = Some(UpgradeScripts {
            up: none(),
            down: none(),
            undoable: true,
            libs: none(),
            old_libs: none(),
            supervisors: Vec::new(),
            environment: none(),
            undo_environment: none(),
            erts: String::new(),
        });
    }
    let old = world.releases.live(world.app.id).await.unwrap().and_then(|live| live.slug).unwrap().digest;
    let deploy = Deploy {
        app: world.app.id,
        slug: (id, slug),
        by: ME.to_owned(),
        push: None,
        before_commit: None,
        hot: Some(Hot { plan, old, or_restart: false, understudy: None }),
    };
    let error = server.deploy(deploy, &Progress::silent()).await.unwrap_err();
    let DeployError::NotHot(refusals) = &error else { panic!("{error}") };
    (refusals.iter().map(|refusal| refusal.what.clone()).collect(), messages::explain(&error))
}

#[tokio::test]
async fn all_that_speaks_against_an_upgrade_is_one_list_and_nothing_was_touched() {
    let world = World::new().await;
    let server = world.server().await;
    world.push(&server, "web: serve 1, worker: serve, gone: serve").await.unwrap();
    let all = counts(&[("web", 1), ("worker", 1), ("gone", 1)]);
    server.scale(world.app.id, all, None, ME.to_owned()).await.unwrap();
    server.set_config(world.app.id, vars(&[("WORD", "other")]), Effect::Later, ME.to_owned()).await.unwrap();
    let (before, states) = (world.shown(&server).await, world.states().await);

    // The plan's own reason, three processes with other variables, one of another line, one that is gone, and none of the
    // replicas is an Erlang node.
    let (kinds, told) = push_hot(&world, &server, "web: serve 2, worker: serve", Some("as it was")).await;
    assert_eq!(kinds, ["version", "procfile", "procfile", "config", "config", "replicas"], "{told}");
    for part in [
        "as it was",
        "What to do: raise it.",
        "the Procfile has no `gone` any more",
        "the Procfile's line of `web` has changed",
        "`web` runs with other variables than the app has now: `WORD`",
        "`worker` runs with other variables than the app has now: `WORD`",
        "0 of 3 replicas are ready and may be Erlang nodes",
        "wait until `gigalixir ps` shows all as Healthy",
        "Nothing was touched",
    ] {
        assert!(told.contains(part), "no `{part}` in:\n{told}");
    }
    assert_eq!((world.shown(&server).await, world.states().await), (before, states), "nor recorded");
    world.check_invariants(&server).await;
}

#[tokio::test]
async fn what_is_new_in_the_procfile_and_what_does_not_run_is_refused() {
    let world = World::new().await;
    let server = world.server().await;
    world.push(&server, "worker: serve").await.unwrap();
    server.scale(world.app.id, counts(&[("worker", 1)]), None, ME.to_owned()).await.unwrap();
    let (kinds, told) = push_hot(&world, &server, "web: serve, worker: serve", None).await;
    assert_eq!(kinds, ["procfile", "replicas"], "{told}");
    assert!(told.contains("`web` is new in the Procfile"), "{told}");

    server.scale(world.app.id, counts(&[("worker", 0)]), None, ME.to_owned()).await.unwrap();
    let (kinds, told) = push_hot(&world, &server, "worker: serve 2", None).await;
    assert_eq!(kinds, ["replicas"], "{told}");
    assert!(told.contains("nothing of the app runs"), "{told}");
}
