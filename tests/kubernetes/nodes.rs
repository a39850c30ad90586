//! The cluster's nodes, as people are told of them.

use serde_json::{Value, json};

use super::{Platform, status};
use crate::harness::{Person, Project};

#[test]
fn nodes_are_told_with_the_replicas_on_them() {
    let Some(platform) = Platform::start() else { return };
    let ada = Person::sign_up(&platform.server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    project.push(&ada);
    let nodes: Value = serde_json::from_str(&ada.run(&["nodes", "--json"]).ok()).unwrap();
    let pod = &status(&ada, &project)["pods"][0];
    let node = nodes.as_array().unwrap().iter().find(|node| node["name"] == pod["machine"]).expect("its node").clone();
    assert_eq!((&node["ready"], &node["replicas"]), (&json!(true), &json!([pod["name"]])));
    assert!(node["versions"]["kubelet"].as_str().is_some_and(|version| version.starts_with("v1.")), "{node}");
    let (may, has) = (node["allocatable"]["memory"].as_u64().unwrap(), node["capacity"]["memory"].as_u64().unwrap());
    assert!(has > 1 << 30 && may > 1 << 30 && may <= has, "{node}");
    assert!(node["conditions"].as_array().unwrap().iter().any(|one| one["type"] == "Ready" && one["bad"] == false));
    let shown = ada.run(&["nodes"]).ok();
    assert!(shown.contains(node["name"].as_str().unwrap()) && shown.contains("kubelet v1."), "{shown}");
}
