//! What the client says where something is not as the person at the terminal thinks it is, and what to do then.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Person, Project, Server, kill, wait_until};

/// Generous: the machine may be busy with others.
const LONG: Duration = Duration::from_secs(60);

/// Somebody and an app that runs; `CRASH=1` ends it at once.
fn deployed(server: &Server) -> (Person, Project) {
    let ada = Person::sign_up(server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    project.push(&ada);
    (ada, project)
}

#[test]
fn a_change_that_breaks_the_app_is_explained_as_a_push_is() {
    let server = Server::start();
    let (ada, project) = deployed(&server);
    let refused = ada.run_in(&project, &["config:set", "CRASH=1"]).fails();
    for told in [
        "`web` ended with code 3",
        "nothing has changed",
        "The last 2 lines of hello-web-",
        "    about to crash",
        "1. ",
    ] {
        assert!(refused.contains(told), "no `{told}` in:\n{refused}");
    }
    assert!(!refused.contains("push"), "nothing was pushed:\n{refused}");
    assert!(server.visit("hello", "/").body.starts_with("one "));
}

#[test]
fn variables_that_are_not_there_and_files_that_are_none() {
    let server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::empty(&ada, "hello");
    project.create_app(&ada);
    assert!(ada.run_in(&project, &["config"]).ok_stderr().contains("config:set"), "it says what to do");
    ada.run_in(&project, &["config:set", "A=1"]).ok();
    let told = ada.run_in(&project, &["config:unset", "A", "TYPO"]).ok_stderr();
    assert!(told.contains("Unset A on hello.") && told.contains("hello had no variable TYPO"), "{told}");
    project.write("bad.env", "A=1\n# note\nno line of it hunter2\n");
    let told = ada.run_in(&project, &["config:import", "bad.env"]).fails();
    assert!(told.contains("bad.env: line 3 ") && !told.contains("hunter2"), "{told}");
    let told = ada.run_in(&project, &["config:set", "1A=x"]).fails();
    assert!(told.contains("variables: name `1A` has invalid format"), "{told}");
    let told = ada.run_in(&project, &["domains:add", "a b.example.com"]).fails();
    assert!(told.contains("domain has invalid format: it should be a name as www.example.com"), "{told}");
    let nobody = ada.run_in(&project, &["apps:destroy", "hello"]);
    assert_eq!(nobody.code, Some(2));
    assert!(nobody.fails().contains("`--confirm hello`, or `--yes`"));
}

#[test]
fn replicas_are_called_by_their_number_everywhere() {
    let server = Server::start();
    let (ada, project) = deployed(&server);
    ada.run_in(&project, &["ps:scale", "web=2"]).ok();
    let table = ada.run_in(&project, &["ps"]).ok();
    assert!(table.contains(" web.1 ") && table.contains(" web.2 "), "{table}");
    let second = ada.run_in(&project, &["ps:run", "--replica", "web.2", "--", "uname", "-n"]).ok();
    let said = || ada.run_in(&project, &["logs", "--no-tail", "--replica", "web.2"]).ok();
    wait_until("what it said is in the log", LONG, || !said().is_empty());
    let lines = said();
    assert!(lines.lines().all(|line| line.contains("]: web.2 ")), "{lines}");
    assert_eq!(lines, ada.run_in(&project, &["logs", "--no-tail", "--replica", second.trim()]).ok());
    ada.run_in(&project, &["ps:kill", "--replica", "web.2"]).ok();
    let log = ada.run_in(&project, &["logs", "--no-tail"]).ok();
    assert!(log.contains(&format!("{} killed by ada@example.com", second.trim())), "{log}");
    assert_eq!(ada.run_in(&project, &["ps:kill", "--replica", "web.9"]).code, Some(4));
    ada.run_in(&project, &["ps:scale", "web=0"]).ok();
    assert!(ada.run_in(&project, &["ps"]).ok_stderr().contains("ps:scale web=1"), "it says how one is started");
}

#[test]
fn lines_of_the_log_are_objects_with_parts() {
    let server = Server::start();
    let (ada, project) = deployed(&server);
    assert_eq!(server.visit("hello", "/needle").status, 200);
    let printed = ada.run_in(&project, &["logs", "--no-tail", "--json"]).ok();
    let lines: Vec<serde_json::Value> =
        printed.lines().map(|line| serde_json::from_str(line).expect("each line is an object")).collect();
    let request = lines.iter().find(|line| line["text"] == "request /needle").expect("the request's line");
    assert_eq!((request["source"].as_str(), request["process"].as_str()), (Some("app"), Some("web.1")));
    assert!(request["replica"].as_str().is_some_and(|name| name.starts_with("hello-web-")), "{request}");
    assert!(request["line"].as_str().is_some_and(|line| line.ends_with("request /needle")), "{request}");
    for source in ["gigalixir", "build"] {
        assert!(lines.iter().any(|line| line["source"] == source), "{source}");
    }
}

#[test]
fn a_second_app_a_second_deploy_and_a_numbered_way_back() {
    let server = Server::start();
    let (ada, project) = deployed(&server);
    let told = ada.run_in(&project, &["create", "second"]).ok_stderr();
    assert!(told.contains("it led to hello before: `gigalixir git:remote hello`"), "{told}");
    let told = ada.run_in(&project, &["create", "hello"]).fails();
    assert!(told.contains("it is yours: `gigalixir git:remote hello`"), "{told}");
    ada.run_in(&project, &["git:remote", "hello"]).ok();
    let told = ada.run_in(&project, &["deploy"]).ok_stderr();
    assert!(told.contains("HEAD was pushed to hello before"), "{told}");
    project.greet(&ada, "two");
    ada.run_in(&project, &["deploy"]).ok();
    assert!(server.visit("hello", "/").body.starts_with("two "));
    ada.run_in(&project, &["releases:rollback", "1"]).ok();
    assert!(server.visit("hello", "/").body.starts_with("one "));
    assert_eq!(ada.run_in(&project, &["rollback", "hello", "99"]).code, Some(4));
}

#[test]
fn keys_come_from_files_and_private_ones_stay_here() {
    let server = Server::start();
    let stranger = Person::stranger(&server);
    let told = stranger.run(&["apps"]).fails();
    assert!(told.contains(&format!("you are not signed in to {}", server.url())), "{told}");
    let ada = Person::sign_up_at_home(&server, "ada@example.com", stranger);
    let key = ada.home().join("key");
    let mut keygen = ada.command("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "ada@home", "-f"]).arg(&key);
    assert!(keygen.status().expect("ssh-keygen").success());
    let refused = ada.run(&["account:ssh_keys:add", &key.to_string_lossy()]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.fails().contains("is no public key, and was sent nowhere"));
    ada.run(&["account:ssh_keys:add", &key.with_extension("pub").to_string_lossy()]).ok();
    assert!(ada.run(&["account:ssh_keys"]).ok().contains("ada@home"));
    let left: serde_json::Value = serde_json::from_str(&ada.run(&["logout", "--json"]).ok()).expect("json");
    assert_eq!(left["email"], "ada@example.com");
}

#[test]
fn copies_that_cannot_be_and_a_job_that_is_left() {
    let server = Server::start();
    let (ada, project) = deployed(&server);
    for (from, to, told) in [
        (":/app/absent", ".", "there is no absent in /app"),
        ("server.py", ":/absent/server.py", "there is no folder /absent"),
    ] {
        let refused = ada.run_in(&project, &["cp", from, to]);
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.stderr.contains(told) && refused.stderr.contains("nothing was copied"), "{refused:?}");
    }

    let mut run = ada
        .command(env!("CARGO_BIN_EXE_gigalixir"))
        .args(["run", "-a", "hello", "--", "sh", "-c", "echo begun; sleep 60"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run");
    let mut said = BufReader::new(run.stdout.take().expect("stdout"));
    let mut first = String::new();
    said.read_line(&mut first).expect("its first line");
    assert_eq!(first, "begun\n");
    kill(run.id() as i32, Signal::INT);
    assert_eq!(run.wait().expect("wait").code(), Some(130));
    let mut told = String::new();
    run.stderr.take().expect("stderr").read_to_string(&mut told).expect("what it said");
    assert!(told.contains("runs on") && told.contains("`gigalixir jobs:stop "), "{told}");
    let jobs: serde_json::Value =
        serde_json::from_str(&ada.run(&["jobs", "-a", "hello", "--json"]).ok()).expect("json");
    assert_eq!(jobs[0]["state"], "running");
    ada.run(&["jobs:stop", "-a", "hello", &jobs[0]["id"].to_string()]).ok();
}

#[test]
fn questions_at_a_terminal_can_be_left() {
    let server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::empty(&ada, "hello");
    project.create_app(&ada);
    let leave = |question: &str| serde_json::json!([["expect", question], ["type", "\u{4}"], ["end"]]);
    let left = ada.run_at_terminal(&project, &["login"], &leave("E-mail:"));
    assert_eq!(left.code, Some(130), "{left:?}");
    assert!(left.stdout.contains(&format!("Signing in to {}.", server.url())), "{left:?}");
    assert!(left.stdout.contains("nothing was typed for the e-mail"), "{left:?}");
    let left = ada.run_at_terminal(&project, &["apps:destroy"], &leave("type hello:"));
    assert_eq!(left.code, Some(130), "{left:?}");
    let absent = ada.run_at_terminal(&project, &["apps:destroy", "absent"], &serde_json::json!([["end"]]));
    assert_eq!(absent.code, Some(4), "{absent:?}");
    assert!(!absent.stdout.contains("no way back"), "nothing is asked about what is not there: {absent:?}");
    assert!(ada.run(&["apps"]).ok().contains("hello"));
}

/// Whoever stops waiting for a change is told that it goes on; and it does.
#[test]
fn a_change_goes_on_when_nobody_waits_for_it() {
    let server = Server::start();
    let (ada, project) = deployed(&server);
    ada.run_in(&project, &["config:set", "SLOW_START=3"]).ok();
    let names = || -> Vec<String> {
        let status: Value = serde_json::from_str(&ada.run_in(&project, &["ps", "--json"]).ok()).expect("json");
        status["pods"].as_array().expect("pods").iter().map(|pod| pod["name"].to_string()).collect()
    };
    wait_until("one replica is left", LONG, || names().len() == 1);
    let before = names();
    let mut restart = ada.command(env!("CARGO_BIN_EXE_gigalixir"));
    restart.arg("ps:restart").current_dir(project.path()).stdout(Stdio::null()).stderr(Stdio::piped());
    let restart = restart.spawn().expect("the client");
    wait_until("the new replica starts", LONG, || names().len() == 2);
    kill(restart.id().cast_signed(), Signal::INT);
    let ended = restart.wait_with_output().expect("its end");
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(130), "{told}");
    assert!(told.contains("interrupted; what the platform has begun, it finishes"), "{told}");
    assert!(told.contains("gigalixir releases -a hello"), "{told}");
    wait_until("the new one takes over", LONG, || names().len() == 1 && names() != before);
}
