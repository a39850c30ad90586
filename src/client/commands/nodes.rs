//! `nodes`: the machines that replicas run on.

use crate::api::machine::{Machine, Resources};
use crate::client::Client;
use crate::client::error::Error;
use crate::client::output::table;

/// Lists the nodes.
pub async fn list(client: &Client) -> Result<(), Error> {
    let api = client.api()?;
    let answer = api.get(&["api", "nodes"]).await?;
    client.output.result(&answer.data, || {
        let nodes: Vec<Machine> = answer.read(&api)?;
        let header = ["NAME", "STATE", "CPU", "MEMORY", "VERSIONS", "REPLICAS", "TROUBLE"];
        Ok(table(header, nodes.iter().map(row)))
    })
}

fn row(node: &Machine) -> [String; 7] {
    let state = match (node.ready, node.schedulable) {
        (false, _) => "not ready",
        (true, false) => "ready, takes no new replicas",
        (true, true) => "ready",
    };
    let versions: Vec<_> = node.versions.iter().map(|(what, version)| format!("{what} {version}")).collect();
    let bad = node.conditions.iter().filter(|condition| condition.bad);
    let trouble: Vec<_> = bad.map(|condition| format!("{}: {}", condition.kind, condition.message)).collect();
    let of = |shown: fn(&Resources) -> String| {
        let (may, has) = (shown(&node.allocatable), shown(&node.capacity));
        if may == has { has } else { format!("{may} of {has}") }
    };
    [
        node.name.clone(),
        state.to_owned(),
        of(|has| format!("{:.1}", has.cpu_m as f64 / 1000.0)),
        of(|has| format!("{:.1} GB", has.memory as f64 / 1e9)),
        versions.join(", "),
        node.replicas.len().to_string(),
        trouble.join("; "),
    ]
}
