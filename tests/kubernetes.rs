//! The whole platform over a real cluster: from a push to visitors, and what happens when something dies on the way.

pub(crate) mod builds;
mod ingress;
mod nodes;
mod stats;

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Person, Project, Server, wait_until};
use crate::harness::{cluster::Cluster, docker::image};

/// On a busy machine pods take their time.
const LONG: Duration = Duration::from_secs(120);

/// A platform on the cluster, and how a test of another file reaches it.
pub(crate) struct Platform {
    pub(crate) server: Server,
    pub(crate) cluster: Cluster,
    /// What the server is told of its stack.
    stacks: tempfile::TempDir,
}

impl Platform {
    pub(crate) fn start() -> Option<Self> {
        Some(Self::with(Cluster::find()?, Wishes::default()))
    }

    fn with(cluster: Cluster, wishes: Wishes<'_>) -> Self {
        let stacks = tempfile::tempdir().unwrap();
        let image = image();
        let stack = format!("run = \"{image}\"\nbuild = \"{image}\"\n");
        std::fs::write(stacks.path().join("debian-12.toml"), stack).unwrap();
        let config = config(&cluster, stacks.path(), &wishes);
        let server = Server::reached_at([0, 0, 0, 0].into(), &config);
        Self { server, cluster, stacks }
    }

    /// Ends the server and starts another, of these wishes.
    fn start_again_with(&mut self, wishes: &Wishes<'_>) {
        self.server.terminate();
        self.server.reconfigure(&config(&self.cluster, self.stacks.path(), wishes));
        self.server.start_again();
    }

    /// What the cluster has of that kind and name in an app's namespace.
    fn get(&self, app: &str, kind: &str, name: &str) -> Option<Value> {
        let namespace = format!("p{}-{app}", std::process::id());
        let found = self.cluster.kubectl(&["get", kind, name, "-n", &namespace, "-o", "json", "--ignore-not-found"]);
        assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
        serde_json::from_slice(&found.stdout).ok()
    }
}

/// What a platform's configuration has beside the usual.
#[derive(Default)]
struct Wishes<'a> {
    /// Before the first section.
    first: &'a str,
    /// In `[kubernetes]`.
    kubernetes: &'a str,
    /// After it.
    more: &'a str,
    /// In place of the cluster's administrator.
    kubeconfig: Option<&'a Path>,
}

fn config(cluster: &Cluster, stacks: &Path, wishes: &Wishes<'_>) -> String {
    let Wishes { first, kubernetes, more, .. } = wishes;
    let (kubeconfig, own) = (wishes.kubeconfig.unwrap_or(&cluster.kubeconfig), std::process::id());
    format!(
        "runtime = \"kubernetes\"\n{first}\n[docker]\nstacks_dir = {stacks:?}\n[kubernetes]\n\
         kubeconfig = {kubeconfig:?}\nnamespace_prefix = \"p{own}-\"\n{kubernetes}\n\
         [deploy]\nhealth_seconds = 100\n{more}\n",
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
