//! A push, from outside: real `git` against the real server.

use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::Duration;

use crate::harness::{Person, Project, Server, wait_until};

#[test]
fn a_push_is_built_released_and_served() {
    let server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    let output = project.push(&ada);
    assert!(output.contains("http://hello.localhost"), "the push tells where the app answers:\n{output}");
    assert!(server.visit("hello", "/").body.starts_with("one "));

    project.greet(&ada, "two");
    project.push(&ada);
    let answer = server.visit("hello", "/").body;
    assert!(answer.starts_with("two "), "{answer}");
    let head = ada.git(&project, &["rev-parse", "HEAD"]).ok();
    assert!(answer.contains(head.trim()), "SOURCE_VERSION is the commit: {answer}");

    let releases = ada.run_in(&project, &["releases", "--json"]).ok();
    let releases: serde_json::Value = serde_json::from_str(&releases).expect("json");
    assert_eq!(releases[0]["sha"], head.trim());
    assert_eq!(releases[0]["version"].as_u64(), releases[1]["version"].as_u64().map(|v| v + 1), "newest first");
}

#[test]
fn what_was_pushed_can_be_cloned_back() {
    let server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    project.push(&ada);
    let url = ada.git(&project, &["remote", "get-url", "gigalixir"]).ok();
    ada.git(&project, &["clone", "-q", url.trim(), "back"]).ok();
    ada.git(&project, &["-C", "back", "fsck", "--full", "--strict"]).ok();
    let there = ada.git(&project, &["-C", "back", "rev-parse", "HEAD"]).ok();
    assert_eq!(there, ada.git(&project, &["rev-parse", "HEAD"]).ok());
}

#[test]
fn other_branches_are_kept_and_say_that_they_do_not_deploy() {
    let server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    let output = ada.git(&project, &["push", "gigalixir", "HEAD:refs/heads/topic"]).ok_stderr();
    assert!(output.contains("topic") && output.contains("not deploy"), "{output}");
    assert_eq!(server.visit("hello", "/").status, 503, "nothing is deployed");
    assert!(ada.git(&project, &["ls-remote", "gigalixir"]).ok().contains("refs/heads/topic"));
}

#[test]
fn a_rejected_push_can_be_pushed_again_unchanged() {
    let server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    ada.run_in(&project, &["config:set", "CRASH=1"]).ok();
    let refused = ada.git(&project, &["push", "gigalixir", "HEAD:refs/heads/master"]).fails();
    assert!(refused.contains("about to crash"), "the dying replica's last words:\n{refused}");
    assert!(refused.contains("rejected"), "{refused}");
    assert!(!ada.git(&project, &["ls-remote", "gigalixir"]).ok().contains("master"), "the ref has not moved");

    ada.run_in(&project, &["config:unset", "CRASH"]).ok();
    project.push(&ada);
    assert!(server.visit("hello", "/").body.starts_with("one "));
}

#[test]
fn a_hot_push_of_what_is_no_release_is_refused_and_the_first_one_is_an_ordinary_one() {
    let server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    let first = ada.git(&project, &["push", "-o", "hot", "gigalixir", "HEAD:refs/heads/master"]).ok_stderr();
    assert!(first.contains("Nothing runs yet that could be upgraded"), "{first}");
    project.greet(&ada, "two");
    for arguments in [
        &["-c", "http.extraheader=GIGALIXIR-HOT: true", "push", "gigalixir", "HEAD:refs/heads/master"][..],
        &["push", "-o", "hot", "gigalixir", "HEAD:refs/heads/master"][..],
    ] {
        let refused = ada.git(&project, arguments).fails();
        assert!(refused.contains("no mix release") && refused.contains("Nothing was touched"), "{refused}");
    }
    assert!(server.visit("hello", "/").body.starts_with("one "));
    project.push(&ada);
    assert!(server.visit("hello", "/").body.starts_with("two "));
}

#[test]
fn a_build_that_fails_says_so_and_leaves_the_old_version() {
    let server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    project.push(&ada);
    std::fs::remove_file(project.path().join("Procfile")).expect("Procfile");
    project.commit(&ada, "no Procfile");
    let refused = ada.git(&project, &["push", "gigalixir", "HEAD:refs/heads/master"]).fails();
    assert!(refused.contains("Procfile"), "{refused}");
    assert!(server.visit("hello", "/").body.starts_with("one "));
}

#[test]
fn interrupting_the_push_cancels_the_build() {
    let server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::empty(&ada, "slow");
    project.write("mix.exs", "Process.sleep(:infinity)\n");
    project.commit(&ada, "a build that never ends");
    project.create_app(&ada);
    let mut push = ada
        .command("git")
        .args(["push", "gigalixir", "HEAD:refs/heads/master"])
        .current_dir(project.path())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("git");
    let building = || crate::harness::children_of_data(&server.data()).iter().any(|(_, line)| line.contains("bwrap"));
    wait_until("the build runs", Duration::from_secs(20), building);
    // As a terminal does: to git and its transport helper.
    let group = rustix::process::Pid::from_raw(push.id() as i32).expect("pid");
    rustix::process::kill_process_group(group, rustix::process::Signal::INT).expect("Ctrl-C");
    let _ = push.wait();
    wait_until("the build is gone", Duration::from_secs(20), || !building());
}

#[test]
fn strangers_see_no_difference_between_a_foreign_app_and_none() {
    let server = Server::with_config("signups = \"open\"\n");
    let ada = Person::sign_up(&server, "ada@example.com");
    let eve = Person::sign_up(&server, "eve@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    project.push(&ada);
    let url = ada.git(&project, &["remote", "get-url", "gigalixir"]).ok();
    let foreign = eve.git(&project, &["ls-remote", url.trim()]).fails();
    let none = eve.git(&project, &["ls-remote", &url.trim().replace("hello", "absent")]).fails();
    assert_eq!(foreign.replace("hello", "absent"), none);
}
