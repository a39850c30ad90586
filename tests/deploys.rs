//! New beside old: what visitors and owners see of deploys, restarts, scaling and crashes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::harness::{Person, Place, Project, Server, get, wait_until};

crate::on_every_runtime! {
    a_release_that_crashes_is_undone_and_explained
    a_release_that_never_listens_is_undone_and_explained
    rolling_back_restores_code_and_config
    scaling_up_down_to_nothing_and_back
    config_reaches_the_app_at_once_or_at_the_next_restart
    a_replica_that_dies_comes_back_and_ps_tells_why
    a_replica_that_eats_too_much_memory_is_killed_and_named
    a_worker_runs_beside_the_web
    visitors_notice_nothing_of_deploys_restarts_and_scaling
}

fn deployed(on: Place, config: &str) -> (Server, Person, Project) {
    let server = on.server(config);
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    project.push(&ada);
    (server, ada, project)
}

fn status(person: &Person, project: &Project) -> serde_json::Value {
    serde_json::from_str(&person.run_in(project, &["ps", "--json"]).ok()).expect("json")
}

fn a_release_that_crashes_is_undone_and_explained(on: Place) {
    let (server, ada, project) = deployed(on, "");
    project.greet(&ada, "crash");
    let refused = ada.git(&project, &["push", "gigalixir", "HEAD:refs/heads/master"]).fails();
    for needle in ["about to crash", "code 3", "Deploy aborted"] {
        assert!(refused.contains(needle), "no `{needle}` in:\n{refused}");
    }
    assert!(server.visit("hello", "/").body.starts_with("one "));
    let pods = status(&ada, &project);
    assert_eq!(pods["replicas_running"], 1, "{pods}");
}

fn a_release_that_never_listens_is_undone_and_explained(on: Place) {
    let (server, ada, project) = deployed(on, "[deploy]\nhealth_seconds = 3\n");
    project.greet(&ada, "silent");
    let refused = ada.git(&project, &["push", "gigalixir", "HEAD:refs/heads/master"]).fails();
    assert!(refused.contains("PORT"), "it says which check failed:\n{refused}");
    assert!(server.visit("hello", "/").body.starts_with("one "));
}

fn rolling_back_restores_code_and_config(on: Place) {
    let (server, ada, project) = deployed(on, "");
    ada.run_in(&project, &["config:set", "MOOD=good"]).ok();
    assert_eq!(server.visit("hello", "/env/MOOD").body, "good");
    let good = server_version(&ada, &project);
    project.greet(&ada, "two");
    project.push(&ada);
    ada.run_in(&project, &["config:set", "MOOD=bad"]).ok();
    assert_eq!(server.visit("hello", "/env/MOOD").body, "bad");

    ada.run_in(&project, &["releases:rollback", "--version", &good.to_string()]).ok();
    assert!(server.visit("hello", "/").body.starts_with("one "));
    assert_eq!(server.visit("hello", "/env/MOOD").body, "good");
    let config: serde_json::Value =
        serde_json::from_str(&ada.run_in(&project, &["config", "--json"]).ok()).expect("json");
    assert_eq!(config["MOOD"], "good", "the app's config is the release's again");
}

fn server_version(person: &Person, project: &Project) -> u64 {
    let releases = person.run_in(project, &["releases", "--json"]).ok();
    let releases: serde_json::Value = serde_json::from_str(&releases).expect("json");
    releases[0]["version"].as_u64().expect("version")
}

fn scaling_up_down_to_nothing_and_back(on: Place) {
    let (server, ada, project) = deployed(on, "");
    ada.run_in(&project, &["ps:scale", "web=3"]).ok();
    wait_until("three replicas run", Duration::from_secs(20), || status(&ada, &project)["replicas_running"] == 3);
    ada.run_in(&project, &["ps:scale", "--replicas", "0"]).ok();
    let page = server.visit("hello", "/");
    assert_eq!(page.status, 503);
    assert!(page.body.contains("scale"), "{}", page.body);
    wait_until("no replica is left", Duration::from_secs(30), || {
        status(&ada, &project)["pods"].as_array().is_some_and(Vec::is_empty)
    });
    ada.run_in(&project, &["scale", "hello", "--replicas=1", "--size=0.3"]).ok();
    assert!(server.visit("hello", "/").body.starts_with("one "));
    assert_eq!(status(&ada, &project)["size"], 0.3);
}

fn config_reaches_the_app_at_once_or_at_the_next_restart(on: Place) {
    let (server, ada, project) = deployed(on, "");
    ada.run_in(&project, &["config:set", "--no-restart", "WORD=later"]).ok();
    assert_eq!(server.visit("hello", "/env/WORD").body, "");
    ada.run_in(&project, &["ps:restart"]).ok();
    assert_eq!(server.visit("hello", "/env/WORD").body, "later");
    ada.run_in(&project, &["config:set", "WORD=now it's $HOME; `x`"]).ok();
    assert_eq!(server.visit("hello", "/env/WORD").body, "now it's $HOME; `x`");
    ada.run_in(&project, &["config:unset", "WORD"]).ok();
    assert_eq!(server.visit("hello", "/env/WORD").body, "");
}

fn a_replica_that_dies_comes_back_and_ps_tells_why(on: Place) {
    let (server, ada, project) = deployed(on, "");
    let _ = server.visit("hello", "/die");
    wait_until("it answers again", Duration::from_secs(20), || server.visit("hello", "/").status == 200);
    let pod = &status(&ada, &project)["pods"][0];
    assert_eq!(pod["restarts"], 1, "{pod}");
    assert_eq!(pod["lastState"]["terminated"]["exitCode"], 7, "{pod}");
    let logs = ada.run_in(&project, &["logs", "--no-tail", "--num", "50"]).ok();
    assert!(logs.contains("app[gigalixir]:") && logs.contains("code 7"), "{logs}");
}

fn a_replica_that_eats_too_much_memory_is_killed_and_named(on: Place) {
    let (server, ada, project) = deployed(on, "");
    ada.run_in(&project, &["ps:scale", "--size", "0.2"]).ok();
    let _ = server.visit("hello", "/eat");
    wait_until("it answers again", Duration::from_secs(30), || server.visit("hello", "/").status == 200);
    let pod = &status(&ada, &project)["pods"][0];
    assert_eq!(pod["lastState"]["terminated"]["reason"], "OOMKilled", "{pod}");
}

fn a_worker_runs_beside_the_web(on: Place) {
    let server = on.server("");
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    project.write("Procfile", "web: python3 -u server.py\nworker: while :; do echo working; sleep 0.2; done\n");
    project.commit(&ada, "worker");
    project.push(&ada);
    assert_eq!(status(&ada, &project)["replicas_desired"], 1, "only web runs until it is scaled");
    ada.run_in(&project, &["ps:scale", "worker=2"]).ok();
    assert_eq!(status(&ada, &project)["replicas_running"], 3);
    wait_until("the workers' words are in the log", Duration::from_secs(10), || {
        ada.run_in(&project, &["logs", "--no-tail", "--process", "worker"]).ok().contains("worker.2 | working")
    });
}

fn visitors_notice_nothing_of_deploys_restarts_and_scaling(on: Place) {
    let (server, ada, project) = deployed(on, "");
    let (stop, count, failed) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let visitors: Vec<_> = (0..4)
        .map(|_| {
            let (stop, count, failed, address) = (stop.clone(), count.clone(), failed.clone(), server.http);
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let answer = get(address, "hello.localhost", "/");
                    count.fetch_add(1, Ordering::Relaxed);
                    if answer.status != 200 {
                        failed.fetch_add(1, Ordering::Relaxed);
                        eprintln!("{} {}", answer.status, answer.body);
                    }
                }
            })
        })
        .collect();
    for round in 0..4 {
        project.greet(&ada, &format!("round{round}"));
        project.push(&ada);
    }
    ada.run_in(&project, &["ps:scale", "web=3"]).ok();
    ada.run_in(&project, &["ps:restart"]).ok();
    ada.run_in(&project, &["ps:scale", "web=1"]).ok();
    ada.run_in(&project, &["config:set", "A=b"]).ok();
    stop.store(true, Ordering::Relaxed);
    visitors.into_iter().for_each(|v| v.join().expect("visitor"));
    assert_eq!(failed.load(Ordering::Relaxed), 0, "of {} requests", count.load(Ordering::Relaxed));
    assert!(count.load(Ordering::Relaxed) > 50);
}
