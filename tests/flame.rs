//! Runners that an app asks for itself: real Erlang nodes that the app's own nodes send work to, as the FLAME library does.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Person, Place, Project, Reply, Wire, wait_until};

crate::on_every_runtime! {
    an_app_sends_work_to_a_runner_of_its_own
}

/// Generous: each node is a whole Erlang, and the machine may be busy with others.
const LONG: Duration = Duration::from_secs(120);

fn an_app_sends_work_to_a_runner_of_its_own(on: Place) {
    let server = on.server("[jobs]\nrunners = 1\nlongest_seconds = 600\n");
    let wire = Wire::of(&server);
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::example(&ada, "circle", "elixir-cluster");
    project.push(&ada);
    let key = ada.run_in(&project, &["ps:run", "printenv", "GIGALIXIR__APP_KEY"]).ok();
    let ask = |body: Value| wire.ask(Some(("circle", key.trim())), "POST", "/api/apps/circle/flame", body);

    let parent = json!({"FLAME_PARENT": "a reference", "MY_OWN": "x"});
    let runner = ask(json!({"env": parent, "size": 0.3, "max_runtime": 300}));
    assert_eq!(runner.status, 201, "{}", runner.text);
    let runner = runner.json();
    let (name, address) =
        (runner["instance_id"].as_str().expect("a name"), runner["private_ip"].as_str().expect("an address"));
    let refused = ask(json!({"env": {}}));
    assert_eq!(refused.status, 429, "{}", refused.text);
    assert!(refused.refusal(429).contains("jobs.runners"), "{}", refused.text);

    // What the library does: the parent's node calls functions on the runner's.
    let node = format!(":\"circle@{address}\"");
    let work = format!(
        "IO.puts(inspect({{Node.connect({node}), :erpc.call({node}, System, :fetch_env!, [\"FLAME_PARENT\"])}}))"
    );
    wait_until("the runner's node answers the parent's", LONG, || {
        let ran = ada.run_in(&project, &["ps:run", "--replica", "web.1", "--", "bin/circle", "rpc", &work]);
        ran.stdout.contains("{true, \"a reference\"}")
    });
    let jobs = || -> Value { serde_json::from_str(&ada.run_in(&project, &["jobs", "--json"]).ok()).expect("json") };
    let job = jobs()[0].clone();
    assert_eq!((&job["kind"], &job["state"], &job["replica"]), (&json!("flame"), &json!("running"), &json!(name)));
    assert_eq!((&job["size"], &job["timeout"]), (&json!(0.3), &json!(300)));
    let pods: Value = serde_json::from_str(&ada.run_in(&project, &["ps", "--json"]).ok()).expect("json");
    let pods = pods["pods"].as_array().expect("pods");
    assert!(pods.iter().any(|pod| pod["name"] == name && pod["process"] == "flame"), "{pods:?}");
    let visits: Vec<_> = (0..6).map(|_| server.visit("circle", "/nodes").status).collect();
    assert_eq!(visits, [200; 6], "nobody is led to the runner");

    // A runner ends by itself when its parent has no more work for it.
    let stop = format!("IO.puts(inspect(:erpc.cast({node}, System, :stop, [0])))");
    ada.run_in(&project, &["ps:run", "--replica", "web.1", "--", "bin/circle", "rpc", &stop]).ok();
    wait_until("the job has ended", LONG, || jobs()[0]["outcome"] == "Completed");
    let again = ask(json!({}));
    assert_eq!(again.status, 201, "there is room for another: {}", again.text);
    let id = jobs()[0]["id"].to_string();
    ada.run_in(&project, &["jobs:stop", &id]).ok();
}

#[test]
fn what_cannot_be_is_refused_and_runs_nothing() {
    let server = Place::Local.server("");
    let wire = Wire::of(&server);
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::example(&ada, "hello", "python-hello");
    project.push(&ada);
    let key = ada.run_in(&project, &["ps:run", "printenv", "GIGALIXIR__APP_KEY"]).ok();
    let ask = |body: Value| -> Reply { wire.ask(Some(("hello", key.trim())), "POST", "/api/apps/hello/flame", body) };
    for (body, why) in [
        (json!({"size": -1}), "size"),
        (json!({"max_runtime": 0}), "timeout"),
        (json!({"env": {"a=b": "c"}}), "a=b"),
        (json!({"env": {"A": 1}}), "does not fit"),
    ] {
        let refusal = ask(body.clone()).refusal(422);
        assert!(refusal.contains(why), "{body}: {refusal}");
    }
    assert_eq!(wire.ask(Some(("hello", "no")), "POST", "/api/apps/hello/flame", json!({})).status, 401);
    assert_eq!(ada.run_in(&project, &["jobs", "--json"]).ok().trim(), "[]");
}

#[test]
fn of_many_that_are_asked_for_at_once_there_are_no_more_than_may_be() {
    let server = Place::Local.server("[jobs]\nrunners = 2\n");
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::example(&ada, "hello", "python-hello");
    project.push(&ada);
    let key = ada.run_in(&project, &["ps:run", "printenv", "GIGALIXIR__APP_KEY"]).ok();
    let ask = || {
        let wire = Wire::of(&server);
        wire.ask(Some(("hello", key.trim())), "POST", "/api/apps/hello/flame", json!({})).status
    };
    let mut told: Vec<u16> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..6).map(|_| scope.spawn(ask)).collect();
        asking.into_iter().map(|asked| asked.join().expect("an answer")).collect()
    });
    told.sort_unstable();
    assert_eq!(told, [201, 201, 429, 429, 429, 429]);
}
