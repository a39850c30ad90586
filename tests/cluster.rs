//! Clusters of real Erlang nodes: how they form, what is seen of them, how they break and heal, and who stays outside.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::harness::{Person, Project, Server, wait_until};

const LONG: Duration = Duration::from_secs(90);

fn circle(server: &Server, person: &Person, app: &str, replicas: u32) -> Project {
    let project = Project::example(person, app, "elixir-cluster");
    person.run_in(&project, &["config:set", "POLL_MS=500"]).ok();
    project.push(person);
    if replicas > 1 {
        person.run_in(&project, &["ps:scale", &format!("web={replicas}")]).ok();
    }
    wait_until("the nodes find each other", LONG, || {
        let seen: Vec<_> = (0..replicas).map(|_| nodes(server, app)).collect();
        seen.iter().all(|nodes| nodes.len() == replicas as usize)
    });
    project
}

/// The nodes of the cluster that one of the replicas is in.
fn nodes(server: &Server, app: &str) -> BTreeSet<String> {
    server.visit(app, "/nodes").body.split_whitespace().map(str::to_owned).collect()
}

/// The count, the node that counted, the node that was asked.
fn visit(server: &Server) -> (u32, String, String) {
    let body = server.visit("circle", "/count").body;
    let words: Vec<String> = body.trim().split([' ', ',']).map(str::to_owned).collect();
    (words[1].parse().expect("a number"), words[5].clone(), words[9].clone())
}

#[test]
fn replicas_form_a_cluster_and_share_what_is_global() {
    let server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = circle(&server, &ada, "circle", 3);
    // Two counters that were begun apart become one when their nodes meet: `global` sees to that, after they have met.
    wait_until("one counter counts for all", LONG, || {
        let visits: Vec<_> = (0..9).map(|_| visit(&server)).collect();
        let first = visits[0].0;
        let in_turn = visits.iter().enumerate().all(|(n, visit)| visit.0 == first + n as u32);
        let counted_on: BTreeSet<_> = visits.iter().map(|visit| &visit.1).collect();
        let asked_on: BTreeSet<_> = visits.iter().map(|visit| &visit.2).collect();
        in_turn && counted_on.len() == 1 && asked_on.len() == 3
    });
    let before = nodes(&server, "circle");
    ada.run_in(&project, &["ps:restart"]).ok();
    wait_until("the new nodes are among themselves", LONG, || {
        let now = nodes(&server, "circle");
        now.len() == 3 && now.is_disjoint(&before)
    });
}
