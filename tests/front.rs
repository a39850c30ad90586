//! What visitors meet before an app, and who may decide it, from the terminal.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use crate::harness::{PASSWORD, Person, Project, Server, get, wait_until};

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn a_domain_and_maintenance_mode_reach_visitors_at_once_and_survive_a_restart() {
    let mut server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    project.push(&ada);
    let visit = |server: &Server, host: &str| get(server.http, host, "/");
    assert_eq!(visit(&server, "www.hello.test").status, 404);

    let record = ada.run_in(&project, &["domains:add", "www.hello.test"]).ok();
    assert_eq!(record.trim(), "www.hello.test. CNAME hello.localhost.");
    ada.run(&["add_domain", "hello", "hello.test"]).ok();
    for host in ["www.hello.test", "WWW.Hello.Test", "hello.test:8080", "hello.localhost"] {
        let answer = visit(&server, host);
        assert!(answer.status == 200 && answer.body.starts_with("one "), "{host}: {} {}", answer.status, answer.body);
    }
    project.greet(&ada, "two");
    project.push(&ada);
    assert!(visit(&server, "hello.test").body.starts_with("two "), "a domain follows deploys");
    let list = ada.run_in(&project, &["domains"]).ok();
    assert!(list.contains("www.hello.test") && list.contains("CNAME hello.localhost"), "{list}");
    assert!(ada.run_in(&project, &["domains:add", "shop.localhost"]).fails().contains("belongs to the platform"));

    ada.run_in(&project, &["maintenance:on", "-y"]).ok();
    for host in ["hello.test", "hello.localhost"] {
        let page = visit(&server, host);
        assert!(page.status == 503 && page.body.contains("maintenance"), "{host}: {} {}", page.status, page.body);
    }
    server.kill();
    server.start_again();
    let page = visit(&server, "hello.test");
    assert!(page.status == 503 && page.body.contains("maintenance"), "{} {}", page.status, page.body);
    ada.run_in(&project, &["maintenance:off"]).ok();
    assert!(visit(&server, "www.hello.test").body.starts_with("two "));

    ada.run(&["delete_domain", "hello", "hello.test"]).ok();
    assert_eq!(visit(&server, "hello.test").status, 404);
    let activity = ada.run_in(&project, &["apps:activity"]).ok();
    for needle in ["Remove the domain hello.test.", "Maintenance mode off.", "Deploy ", "ada@example.com"] {
        assert!(activity.contains(needle), "no `{needle}` in:\n{activity}");
    }
}

#[test]
fn a_collaborator_deploys_and_a_viewer_looks() {
    let server = Server::with_config("signups = \"open\"\n");
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    project.push(&ada);
    let ben = Person::sign_up(&server, "ben@example.com");
    let _ = ben.git(&project, &["ls-remote", "gigalixir"]).fails();

    ada.run_in(&project, &["access:add", "ben@example.com", "--role", "viewer"]).ok();
    assert!(ben.run(&["apps"]).ok().contains("hello"));
    assert!(ben.git(&project, &["ls-remote", "gigalixir"]).ok().contains("refs/heads/"));
    project.greet(&ben, "two");
    let refused = ben.git(&project, &["push", "gigalixir", "HEAD:refs/heads/master"]).fails();
    assert!(refused.contains("403"), "{refused}");
    assert!(server.visit("hello", "/").body.starts_with("one "));
    assert!(ben.run_in(&project, &["ps:restart"]).fails().contains("takes COLLABORATOR"));

    ada.run(&["add_permission", "hello", "ben@example.com"]).ok();
    project.push(&ben);
    assert!(server.visit("hello", "/").body.starts_with("two "));
    let people = ada.run_in(&project, &["access"]).ok();
    assert!(people.contains("ben@example.com") && people.contains("COLLABORATOR"), "{people}");
    assert!(ada.run_in(&project, &["apps:activity"]).ok().contains("ben@example.com"));

    // Those of the release before may still be on their way out.
    let healthy = || -> Vec<String> {
        let status: serde_json::Value =
            serde_json::from_str(&ben.run_in(&project, &["ps", "--json"]).ok()).expect("json");
        let pods = status["pods"].as_array().expect("pods").iter().filter(|pod| pod["status"] == "Healthy");
        pods.map(|pod| pod["name"].as_str().expect("name").to_owned()).collect()
    };
    let before = healthy();
    assert_eq!(before.len(), 1);
    ben.run_in(&project, &["ps:kill", "--pod", &before[0], "-y"]).ok();
    wait_until("another replica serves", Duration::from_secs(20), || {
        let now = healthy();
        now.len() == 1 && now != before
    });
    assert!(server.visit("hello", "/").body.starts_with("two "));

    ada.run(&["delete_permission", "hello", "ben@example.com"]).ok();
    let _ = ben.git(&project, &["ls-remote", "gigalixir"]).fails();
}

/// A log is told only as long as one may hear it.
#[test]
fn who_may_look_no_longer_hears_no_more_of_the_log() {
    let server = Server::with_config("signups = \"open\"\n");
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    project.push(&ada);
    let ben = Person::sign_up(&server, "ben@example.com");
    ada.run_in(&project, &["access:add", "ben@example.com", "--role", "viewer"]).ok();
    let (his, hers) = (Listener::to(&ben, "hello"), Listener::to(&ada, "hello"));
    assert_eq!(server.visit("hello", "/first").status, 200);
    his.hears("/first");
    hers.hears("/first");

    ada.run_in(&project, &["access:remove", "ben@example.com"]).ok();
    his.ends();
    assert_eq!(server.visit("hello", "/second").status, 200);
    hers.hears("/second");
    ada.run_with_input(&["account:api_key:reset", "--password-stdin"], PASSWORD).ok();
    hers.ends();
}

/// Somebody who follows a log.
struct Listener {
    program: Child,
    lines: Receiver<String>,
}

impl Listener {
    fn to(person: &Person, app: &str) -> Self {
        let mut command = person.command(env!("CARGO_BIN_EXE_gigalixir"));
        let mut program = command.args(["logs", "-a", app]).stdout(Stdio::piped()).spawn().expect("logs");
        let lines = BufReader::new(program.stdout.take().expect("stdout")).lines();
        let (tell, told) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(tell.send(line))));
        Self { program, lines: told }
    }

    #[track_caller]
    fn hears(&self, what: &str) {
        let lines = std::iter::from_fn(|| self.lines.recv_timeout(LIMIT).ok());
        assert!(lines.into_iter().any(|line| line.contains(what)), "{what} was not heard");
    }

    #[track_caller]
    fn ends(self) {
        let end = std::iter::repeat_with(|| self.lines.recv_timeout(LIMIT)).find_map(Result::err);
        assert_eq!(end, Some(RecvTimeoutError::Disconnected));
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

#[test]
fn a_canary_gets_its_part_of_the_visitors_also_after_a_restart() {
    let mut server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    let main = Project::greeting(&ada, "hello", "one");
    main.push(&ada);
    let next = Project::greeting(&ada, "hello-next", "two");
    next.push(&ada);
    ada.run_in(&main, &["canary:set", "-c", "hello-next", "-w", "20"]).ok();
    let part = |server: &Server| (0..50).filter(|_| server.visit("hello", "/").body.starts_with("two ")).count();
    assert_eq!(part(&server), 10);
    server.kill();
    server.start_again();
    assert_eq!(part(&server), 10);
    assert!(server.visit("hello-next", "/").body.starts_with("two "));
    assert!(ada.run_in(&main, &["canary"]).ok().contains("20 %"));
    ada.run_in(&main, &["canary:unset", "-c", "hello-next"]).ok();
    assert_eq!(part(&server), 0);
}
