//! The whole platform over a real cluster: from a push to visitors, and what happens when something dies on the way.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Person, Project, Server, wait_until};
use crate::harness::{cluster::Cluster, docker::image};

/// On a busy machine pods take their time.
const LONG: Duration = Duration::from_secs(120);

struct Platform {
    server: Server,
    cluster: Cluster,
    // What the server is told of its stack.
    _stacks: tempfile::TempDir,
}

impl Platform {
    fn start() -> Option<Self> {
        let cluster = Cluster::find()?;
        let stacks = tempfile::tempdir().unwrap();
        let image = image();
        let stack = format!("run = \"{image}\"\nbuild = \"{image}\"\n");
        std::fs::write(stacks.path().join("debian-12.toml"), stack).unwrap();
        let config = config(&cluster, stacks.path());
        let server = Server::reached_at([0, 0, 0, 0].into(), &config);
        Some(Self { server, cluster, _stacks: stacks })
    }
}

fn config(cluster: &Cluster, stacks: &Path) -> String {
    format!(
        "runtime = \"kubernetes\"\n[docker]\nstacks_dir = {:?}\n[kubernetes]\nkubeconfig = {:?}\nnamespace_prefix = \"p{}-\"\n[deploy]\nhealth_seconds = 100\n",
        stacks,
        cluster.kubeconfig,
        std::process::id(),
    )
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.server.kill();
        if let Ok(text) = std::fs::read_to_string(self.server.data().join("kubernetes/server.json")) {
            self.cluster.forget(text.trim_matches('"'));
        }
    }
}

fn status(person: &Person, project: &Project) -> Value {
    serde_json::from_str(&person.run_in(project, &["ps", "--json"]).ok()).expect("json")
}

#[test]
fn from_a_push_to_a_rollback() {
    let Some(platform) = Platform::start() else { return };
    let server = &platform.server;
    let ada = Person::sign_up(server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    project.push(&ada);
    assert!(server.visit("hello", "/").body.starts_with("one "));

    // A bad push changes nothing, and says why.
    project.greet(&ada, "crash");
    let refused = ada.git(&project, &["push", "gigalixir", "HEAD:refs/heads/master"]).fails();
    for needle in ["about to crash", "code 3", "Deploy aborted"] {
        assert!(refused.contains(needle), "no `{needle}` in:\n{refused}");
    }
    assert!(server.visit("hello", "/").body.starts_with("one "));

    ada.run_in(&project, &["config:set", "WORD=now it's $HOME; $(x) `x`"]).ok();
    assert_eq!(server.visit("hello", "/env/WORD").body, "now it's $HOME; $(x) `x`");
    ada.run_in(&project, &["ps:scale", "web=2"]).ok();
    wait_until("two replicas run", LONG, || status(&ada, &project)["replicas_running"] == 2);
    ada.run_in(&project, &["ps:scale", "web=1"]).ok();
    wait_until("one replica is left", LONG, || {
        status(&ada, &project)["pods"].as_array().is_some_and(|pods| pods.len() == 1)
    });

    let ran = ada.run_in(&project, &["run", "echo", "from a job"]).ok();
    assert!(ran.contains("from a job"), "{ran}");
    let logs = ada.run_in(&project, &["logs", "--no-tail", "--num", "200"]).ok();
    assert!(logs.contains("GET /env/WORD") || logs.contains("web.1"), "{logs}");

    let _ = server.visit("hello", "/die");
    wait_until("it answers again", LONG, || server.visit("hello", "/").status == 200);
    wait_until("its end is told", LONG, || {
        status(&ada, &project)["pods"][0]["lastState"]["terminated"]["exitCode"] == 7
    });

    project.greet(&ada, "two");
    project.push(&ada);
    assert!(server.visit("hello", "/").body.starts_with("two "));
    ada.run_in(&project, &["releases:rollback"]).ok();
    assert!(server.visit("hello", "/").body.starts_with("one "));
}

/// A server that dies in the middle of a deploy undoes or finishes it at its next start; replicas run on meanwhile.
#[test]
fn a_server_that_dies_in_the_middle_of_a_deploy() {
    let Some(mut platform) = Platform::start() else { return };
    let ada = Person::sign_up(&platform.server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    project.push(&ada);
    for (step, survivor) in [("deploy.healthy", "one "), ("deploy.committed", "two ")] {
        platform.server.kill();
        assert!(platform.server.start_again_crashing(step), "it starts");
        wait_until("the old release serves", LONG, || platform.server.visit("hello", "/").status == 200);
        project.greet(&ada, "two");
        let _ = ada.git(&project, &["push", "gigalixir", "HEAD:refs/heads/master"]);
        platform.server.wait_dead(Duration::from_secs(10));
        platform.server.start_again();
        wait_until("visitors are served", LONG, || platform.server.visit("hello", "/").body.starts_with(survivor));
        wait_until("only one generation is left", LONG, || {
            status(&ada, &project)["pods"].as_array().is_some_and(|pods| pods.len() == 1)
        });
    }
}
