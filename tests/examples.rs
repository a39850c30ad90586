//! Every example is pushed as it is.

use crate::harness::{Person, Project, Server};

#[track_caller]
fn answers(name: &str, expected: &str) {
    let server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::example(&ada, "example", name);
    project.push(&ada);
    let answer = server.visit("example", "/");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body.contains(expected), "{}", answer.body);
}

#[test]
fn elixir_release() {
    answers("elixir-release", "Hello");
}

#[test]
fn elixir_cluster() {
    answers("elixir-cluster", "I am example@127.64.");
}

#[test]
fn elixir_mix() {
    answers("elixir-mix", "Hello");
}

#[test]
fn web_worker() {
    answers("web-worker", "Hello");
}

#[test]
fn python_hello() {
    answers("python-hello", "Hello");
}

#[test]
fn elixir_hot() {
    answers("elixir-hot", "0 counted, version 0.1.0");
}
