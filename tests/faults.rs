//! What platforms stand on dies under them, in the middle of a deploy: a cluster's parts, a pod, a Docker daemon.
//!
//! These tests run alone (`.config/nextest.toml`): what they kill, others may be using.

use std::collections::BTreeSet;
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::dockerd::Dockerd;
use crate::harness::guests::{Guests, visit};
use crate::harness::parts::Part;
use crate::harness::second_node::SecondNode;
use crate::harness::{Person, Project, Server, wait_until};
use crate::kubernetes::Platform;
use crate::kubernetes::builds::Workshop;

const LONG: Duration = Duration::from_secs(120);
/// While somebody starts it again.
const AWAY: Duration = Duration::from_secs(4);

fn pods(person: &Person, project: &Project) -> Vec<Value> {
    let status: Value = serde_json::from_str(&person.run_in(project, &["ps", "--json"]).ok()).expect("json");
    status["pods"].as_array().cloned().unwrap_or_default()
}

/// A deploy of this greeting that takes some seconds, from the moment at which its new replica exists.
fn deploy(person: &Person, project: &Project, greeting: &str) -> Child {
    let before = pods(person, project).len();
    project.greet(person, greeting);
    let mut git = person.command("git");
    git.args(["push", "gigalixir", "HEAD:refs/heads/master"]).current_dir(project.path());
    let push = git.stderr(std::process::Stdio::piped()).spawn().expect("git");
    wait_until("the new replica exists", LONG, || pods(person, project).len() > before);
    push
}

/// It went well.
#[track_caller]
fn done(push: Child) {
    let ended = push.wait_with_output().expect("git");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}

fn on_kubernetes() -> Option<(Platform, Person, Project)> {
    let platform = Platform::start()?;
    let ada = Person::sign_up(&platform.server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    project.push(&ada);
    ada.run_in(&project, &["config:set", "SLOW_START=6"]).ok();
    wait_until("one replica is left", LONG, || pods(&ada, &project).len() == 1);
    Some((platform, ada, project))
}

/// Each dies while a deploy waits for its new replica, and comes back: the deploy goes on, and no visitor notices.
#[test]
fn parts_of_the_cluster_die_in_the_middle_of_a_deploy() {
    let Some((platform, ada, project)) = on_kubernetes() else { return };
    for name in ["kube-apiserver", "etcd", "containerd"] {
        let Some(part) = Part::of(name) else { return };
        let guests = Guests::come(platform.server.http, "hello.localhost");
        let push = deploy(&ada, &project, name);
        part.kill();
        std::thread::sleep(AWAY);
        part.start_again();
        done(push);
        assert!(platform.server.visit("hello", "/").body.starts_with(&format!("{name} ")));
        guests.leave();
        wait_until("the old replica is gone", LONG, || pods(&ada, &project).len() == 1);
    }
    // Everything is known that happened meanwhile.
    ada.run_in(&project, &["ps:scale", "web=2"]).ok();
    wait_until("two replicas run", LONG, || {
        pods(&ada, &project).iter().filter(|pod| pod["status"] == "Healthy").count() == 2
    });
}

/// The API server dies while something is built in the cluster: the build goes on, and what it says comes whole and once.
#[test]
fn the_api_server_dies_in_the_middle_of_a_build() {
    let Some(shop) = Workshop::open() else { return };
    let Some(part) = Part::of("kube-apiserver") else { return };
    let said = tempfile::NamedTempFile::new().expect("a file");
    let script = "for n in {1..24}; do echo \"line $n.\"; sleep 0.5; done; echo built >greeting.txt";
    let mut push = shop.begin(script, said.reopen().expect("the file"));
    let heard = || std::fs::read_to_string(said.path()).expect("what git says");
    wait_until("it speaks", LONG, || heard().contains("line 3."));
    part.kill();
    std::thread::sleep(AWAY);
    part.start_again();
    assert!(push.wait().expect("git").success(), "{}", heard());
    let heard = heard();
    let lines: Vec<_> = heard.lines().filter_map(|line| line.strip_prefix("remote: line ")).map(str::trim).collect();
    assert_eq!(lines, (1..=24).map(|n| format!("{n}.")).collect::<Vec<_>>());
    assert!(shop.platform.server.visit("hello", "/").body.starts_with("built "));
}

/// The new replica's pod is killed: the cluster makes another, and the deploy goes on with that one.
#[test]
fn a_pod_dies_in_the_middle_of_a_deploy() {
    let Some((platform, ada, project)) = on_kubernetes() else { return };
    let guests = Guests::come(platform.server.http, "hello.localhost");
    let old = pods(&ada, &project)[0]["name"].clone();
    let push = deploy(&ada, &project, "two");
    let new = pods(&ada, &project).into_iter().find(|pod| pod["name"] != old).expect("the new one");
    let (name, namespace) = (new["name"].as_str().expect("a name"), format!("p{}-hello", std::process::id()));
    let killed = platform.cluster.kubectl(&["delete", "pod", name, "-n", &namespace, "--force", "--grace-period=0"]);
    assert!(killed.status.success(), "{}", String::from_utf8_lossy(&killed.stderr));
    done(push);
    assert!(platform.server.visit("hello", "/").body.starts_with("two "));
    guests.leave();
}

/// A node that takes nothing new says so, and the pusher reads why.
#[test]
fn a_node_that_takes_no_pods_is_told() {
    let Some((platform, ada, project)) = on_kubernetes() else { return };
    ada.run_in(&project, &["config:set", "GIGALIXIR_HEALTH_TIMEOUT=20"]).ok();
    wait_until("one replica is left", LONG, || pods(&ada, &project).len() == 1);
    let node = pods(&ada, &project)[0]["machine"].as_str().expect("a machine").to_owned();
    let told = || -> Value {
        let nodes: Value = serde_json::from_str(&ada.run(&["nodes", "--json"]).ok()).expect("json");
        nodes.as_array().expect("nodes").iter().find(|one| one["name"] == node.as_str()).expect("the node").clone()
    };
    struct Uncordon<'a>(&'a Platform, &'a str);
    impl Drop for Uncordon<'_> {
        fn drop(&mut self) {
            self.0.cluster.kubectl(&["uncordon", self.1]);
        }
    }
    let _again = Uncordon(&platform, &node);
    assert!(platform.cluster.kubectl(&["cordon", &node]).status.success());
    assert_eq!((&told()["ready"], &told()["schedulable"]), (&Value::Bool(true), &Value::Bool(false)));
    assert!(ada.run(&["nodes"]).ok().contains("takes no new replicas"));
    project.greet(&ada, "two");
    let refused = ada.git(&project, &["push", "gigalixir", "HEAD:refs/heads/master"]).fails();
    assert!(refused.contains("unschedulable"), "{refused}");
    assert!(platform.server.visit("hello", "/").body.starts_with("one "));
}

/// Two replicas are on two nodes; one of them is lost. Visitors are served by the other one, and the cluster makes another.
#[test]
fn a_node_is_lost() {
    let Some((platform, ada, project)) = on_kubernetes() else { return };
    let Some(mut node) = SecondNode::join(&platform.cluster) else { return };
    ada.run_in(&project, &["config:unset", "SLOW_START"]).ok();
    ada.run_in(&project, &["ps:scale", "web=2"]).ok();
    let healthy = || pods(&ada, &project).into_iter().filter(|pod| pod["status"] == "Healthy").collect::<Vec<_>>();
    wait_until("two replicas run", LONG, || healthy().len() == 2 && pods(&ada, &project).len() == 2);
    let machines: BTreeSet<_> = healthy().iter().map(|pod| pod["machine"].to_string()).collect();
    assert_eq!(machines.len(), 2, "they are spread: {:?}", healthy());
    node.lose();
    let begun = Instant::now();
    let other = |pod: &Value| pod["machine"] != node.name();
    wait_until("the lost one is not counted on", LONG, || healthy().iter().all(other));
    eprintln!("not counted on after {:?}", begun.elapsed());
    for _ in 0..20 {
        visit(platform.server.http, "hello.localhost").expect("an answer");
    }
    let nodes = ada.run(&["nodes"]).ok();
    assert!(nodes.lines().any(|line| line.contains(node.name()) && line.contains("not ready")), "{nodes}");
    wait_until("another one runs elsewhere", LONG, || healthy().iter().filter(|pod| other(pod)).count() == 2);
    eprintln!("replaced after {:?}", begun.elapsed());
}

fn on_docker(keeps: bool) -> Option<(Dockerd, Server, Person, Project)> {
    let daemon = Dockerd::start(keeps)?;
    let config = format!(
        "runtime = \"docker\"\n[docker]\nsocket = {:?}\nsubnets = \"10.199.0.0/16\"\n[builder]\nsandbox = \"bubblewrap\"\n\
         [deploy]\nhealth_seconds = 40\n",
        daemon.socket()
    );
    let server = Server::with_config(&config);
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    project.push(&ada);
    ada.run_in(&project, &["config:set", "SLOW_START=3"]).ok();
    wait_until("one replica is left", LONG, || pods(&ada, &project).len() == 1);
    Some((daemon, server, ada, project))
}

/// A daemon that ends its containers when it is started again: what should run, runs again, and a deploy that was under
/// way is finished or refused, never half done.
#[test]
fn docker_dies_and_takes_its_containers_with_it() {
    let Some((mut daemon, server, ada, project)) = on_docker(false) else { return };
    let serves = |greeting: &str| server.visit("hello", "/").body.starts_with(&format!("{greeting} "));
    daemon.kill();
    assert!(serves("one"), "containers need no daemon");
    std::thread::sleep(AWAY);
    daemon.start_again();
    wait_until("it serves again", LONG, || serves("one"));

    let push = deploy(&ada, &project, "two");
    daemon.kill();
    std::thread::sleep(AWAY);
    daemon.start_again();
    let ended = push.wait_with_output().expect("git");
    let greeting = if ended.status.success() { "two" } else { "one" };
    wait_until("what was committed serves", LONG, || serves(greeting));
    wait_until("nothing else is left", LONG, || daemon.running().len() == 1 && pods(&ada, &project).len() == 1);
    project.greet(&ada, "three");
    project.push(&ada);
    assert!(serves("three"));
}

/// One that leaves them alone: they are taken over, as they are.
#[test]
fn docker_dies_and_its_containers_stay() {
    let Some((mut daemon, server, ada, project)) = on_docker(true) else { return };
    let guests = Guests::come(server.http, "hello.localhost");
    let before = daemon.running();
    daemon.kill();
    std::thread::sleep(AWAY);
    daemon.start_again();
    assert_eq!(daemon.running(), before);
    wait_until("it is known as it was", LONG, || {
        let pods = pods(&ada, &project);
        pods.len() == 1 && pods[0]["status"] == "Healthy"
    });
    assert_eq!(pods(&ada, &project)[0]["restarts"], 0);
    guests.leave();
    // Its end is noticed as ever.
    let _ = server.visit("hello", "/die");
    wait_until("its end is told", LONG, || pods(&ada, &project).iter().any(|pod| pod["restarts"] == 1));
    wait_until("it serves again", LONG, || visit(server.http, "hello.localhost").is_ok());
}
