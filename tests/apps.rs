//! Apps, their config and their logs, from the terminal.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use crate::harness::{Person, Project, Server, children_of_data, wait_until};

#[test]
fn an_app_without_a_name_gets_a_pleasant_one() {
    let server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::empty(&ada, "");
    let name = ada.run_in(&project, &["create"]).ok();
    assert_eq!(name.lines().count(), 1, "only the name is on stdout: {name}");
    assert!(ada.git(&project, &["remote", "get-url", "gigalixir"]).ok().contains(name.trim()));
    let apps: serde_json::Value = serde_json::from_str(&ada.run(&["apps", "--json"]).ok()).expect("json");
    assert_eq!(apps[0]["unique_name"], name.trim());
}

#[test]
fn bad_and_taken_names_are_refused_with_a_reason() {
    let server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::empty(&ada, "");
    ada.run_in(&project, &["create", "-n", "taken"]).ok();
    assert!(ada.run_in(&project, &["create", "-n", "taken"]).fails().contains("taken"));
    for bad in ["a", "1abc", "a_b", "api", "x/y", "../up"] {
        let refused = ada.run_in(&project, &["create", "-n", bad]).fails();
        assert!(
            refused.contains("format") || refused.contains("character") || refused.contains("reserved"),
            "{bad}: {refused}"
        );
    }
    assert!(ada.run_in(&project, &["apps:rename", "-a", "taken", "other"]).fails().contains("name"));
}

#[test]
fn destroying_frees_everything() {
    let server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    project.push(&ada);
    let _ = ada.run_in(&project, &["apps:destroy", "--confirm", "other"]).fails();
    assert_eq!(server.visit("hello", "/").status, 200, "a wrong confirmation destroys nothing");
    ada.run_in(&project, &["apps:destroy", "--confirm", "hello"]).ok();
    assert_eq!(server.visit("hello", "/").status, 404);
    wait_until("no replica is left", Duration::from_secs(20), || {
        !children_of_data(&server.data()).iter().any(|(_, line)| line.contains(" shim "))
    });
    let _ = ada.git(&project, &["ls-remote", "gigalixir"]).fails();
    project.create_app(&ada);
    project.push(&ada);
    assert!(server.visit("hello", "/").body.starts_with("one "), "the name is free again");
}

#[test]
fn nobody_else_sees_an_app() {
    let server = Server::with_config("signups = \"open\"\n");
    let ada = Person::sign_up(&server, "ada@example.com");
    let eve = Person::sign_up(&server, "eve@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    let commands: &[&[&str]] = &[
        &["apps:info"],
        &["ps"],
        &["ps:scale", "web=2"],
        &["ps:restart"],
        &["config"],
        &["config:set", "A=b"],
        &["config:unset", "A"],
        &["releases"],
        &["releases:rollback", "--version", "1"],
        &["logs", "--no-tail"],
        &["apps:destroy", "-y"],
    ];
    for command in commands {
        let foreign = eve.run_in(&project, &[*command, &["-a", "hello"]].concat()).fails();
        let absent = eve.run_in(&project, &[*command, &["-a", "absent"]].concat()).fails();
        assert_eq!(foreign.replace("hello", "absent"), absent, "{command:?}");
    }
    assert!(ada.run(&["apps"]).ok().contains("hello"));
}

#[test]
fn config_travels_as_env_and_json() {
    let server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    project.write("in.env", "PLAIN=1\nQUOTED=\"two words\"\nMULTI=\"a\\nb\"\n");
    ada.run_in(&project, &["config:import", "in.env"]).ok();
    let json = ada.run_in(&project, &["config:export", "--format", "json"]).ok();
    let values: serde_json::Value = serde_json::from_str(&json).expect("json");
    assert_eq!(values["QUOTED"], "two words");
    assert_eq!(values["MULTI"], "a\nb");
    let env = ada.run_in(&project, &["config:export", "--format", "env"]).ok();
    project.write("again.env", &env);
    ada.run_in(&project, &["config:unset", "PLAIN", "QUOTED", "MULTI"]).ok();
    ada.run_in(&project, &["config:import", "again.env"]).ok();
    assert_eq!(ada.run_in(&project, &["config:export", "--format", "json"]).ok(), json);
    assert!(ada.run_in(&project, &["config:set", "1BAD=x"]).fails().contains("1BAD"));
    assert!(ada.run_in(&project, &["config:set", &format!("BIG={}", "x".repeat(40_000))]).fails().contains("32768"));
}

#[test]
fn logs_follow_live_in_the_contracts_format() {
    let server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    project.push(&ada);
    let mut follow = ada
        .command(env!("CARGO_BIN_EXE_gigalixir"))
        .args(["logs", "-a", "hello"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("logs");
    let lines = BufReader::new(follow.stdout.take().expect("stdout")).lines();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(tell.send(line))));
    let first = told.recv_timeout(Duration::from_secs(10)).expect("old lines come first");
    assert!(first.contains(" app["), "{first}");
    assert_eq!(server.visit("hello", "/needle").status, 200);
    let found = std::iter::from_fn(|| told.recv_timeout(Duration::from_secs(10)).ok()).find(|l| l.contains("/needle"));
    let line = found.expect("the request's line arrives live");
    let (stamp, rest) = line.split_once(' ').expect("stamp");
    assert_eq!(stamp.len(), "2019-05-29T13:01:58.840950+00:00".len(), "{line}");
    assert!(rest.starts_with("app[hello-web-") && rest.contains("]: web.1  | request /needle"), "{line}");
    follow.kill().expect("kill");
    let _ = follow.wait();
}

#[test]
fn every_command_explains_itself() {
    let server = Server::start();
    let ada = Person::stranger(&server);
    let help = ada.run(&["--help"]).ok();
    assert!(help.contains("Exit codes"), "{help}");
    for command in ["create", "ps:scale", "config:set", "releases:rollback", "logs", "server", "login"] {
        let text = ada.run(&[command, "--help"]).ok();
        assert!(text.contains("Examples"), "{command}:\n{text}");
    }
    assert_eq!(ada.run(&["no-such-command"]).code, Some(2));
    for shell in ["bash", "zsh", "fish"] {
        assert!(ada.run(&["completion", shell]).ok().contains("gigalixir"));
    }
}

#[test]
fn the_seeds_spelling_works() {
    let server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    ada.run_in(&project, &["set_config", "hello", "FOO", "bar"]).ok();
    assert!(ada.run_in(&project, &["configs", "hello"]).ok().contains("bar"));
    ada.run_in(&project, &["delete_config", "hello", "FOO"]).ok();
    assert!(!ada.run_in(&project, &["configs", "hello"]).ok().contains("bar"));
    project.push(&ada);
    project.greet(&ada, "two");
    project.push(&ada);
    ada.run_in(&project, &["scale", "hello", "--replicas=2", "--size=0.6"]).ok();
    assert!(ada.run_in(&project, &["releases", "hello"]).ok().contains("ROLLBACK ID"));
    ada.run_in(&project, &["status", "hello"]).ok();
    ada.run_in(&project, &["rollback", "hello"]).ok();
    assert!(server.visit("hello", "/").body.starts_with("one "));
}
