//! The platform on Docker: what is only there. What it shares with the other runtimes is in `deploys.rs`, `cluster.rs` and
//! `runtime_docker.rs`.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{Person, Place, Project, Server, docker, wait_until};

const LONG: Duration = Duration::from_secs(60);

fn on_docker() -> Option<(Server, Person, Project)> {
    if !Place::Docker.is_there() {
        return None;
    }
    let server = Place::Docker.server("");
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    project.push(&ada);
    Some((server, ada, project))
}

fn json(person: &Person, project: &Project, args: &[&str]) -> Value {
    let args = [args, &["--json"]].concat();
    serde_json::from_str(&person.run_in(project, &args).ok()).expect("json")
}

fn status(person: &Person, project: &Project) -> Value {
    json(person, project, &["ps"])
}

#[test]
fn stacks_are_told_with_their_images_and_apps() {
    let Some((_server, ada, project)) = on_docker() else { return };
    let stacks = json(&ada, &project, &["stacks"]);
    let named = |name: &str| {
        let all = stacks.as_array().expect("a list");
        all.iter().find(|stack| stack["name"] == name).unwrap_or_else(|| panic!("{stacks}")).clone()
    };
    let ours = named("debian-12");
    assert_eq!((&ours["default"], &ours["apps"][0]), (&Value::Bool(true), &Value::from("hello")), "{ours}");
    for (number, purpose) in ["run", "build"].iter().enumerate() {
        let image = &ours["images"][number];
        assert_eq!((&image["purpose"], &image["state"]), (&Value::from(*purpose), &Value::from("ready")), "{ours}");
        assert!(image["digest"].as_str().is_some_and(|digest| digest.starts_with("sha256:")), "{ours}");
    }
    assert_eq!(named("gigalixir-24")["command"], "gigalixir stacks:pull gigalixir-24");
    let table = ada.run_in(&project, &["stacks"]).ok();
    assert!(table.contains("debian-12 (default)") && table.contains(&docker::image()), "{table}");
    let refused = ada.run_in(&project, &["stack:set", "debian-1"]).fails();
    assert!(refused.contains("debian-12, gigalixir-24"), "{refused}");
}

#[test]
fn a_build_is_in_the_stacks_image_with_a_cache_of_its_own() {
    let Some((server, ada, project)) = on_docker() else { return };
    let compile = "#!/bin/bash\necho \"on $STACK as $(id -u), cached: [$(ls \"$2\")]\"; touch \"$2/$STACK\"\n";
    let stacks = server.stacks();
    let own = docker::stack();
    std::fs::write(stacks.join("other-1.toml"), own).expect("another stack");
    let packs = server.data().parent().expect("a folder").join("packs");
    for (script, text) in [("detect", "#!/bin/bash\necho Tell\n"), ("compile", compile)] {
        use std::os::unix::fs::PermissionsExt as _;
        let file = packs.join("tell/bin").join(script);
        std::fs::create_dir_all(file.parent().expect("bin")).expect("folder");
        std::fs::write(&file, text).expect("script");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("mode");
    }
    let mut server = server;
    server.terminate();
    server.reconfigure(&Place::Docker.config(&format!("[builder]\nbuildpacks_dir = {:?}\n", packs.to_str().unwrap())));
    server.start_again();

    project.write(".buildpacks", packs.join("tell").to_str().expect("utf-8"));
    project.commit(&ada, "tells");
    assert!(project.push(&ada).contains("on debian-12 as 1000, cached: []"));
    ada.run_in(&project, &["stack:set", "other-1"]).ok();
    assert!(server.visit("hello", "/").body.starts_with("one "), "it takes effect at the next build");
    for expected in ["on other-1 as 1000, cached: []", "on other-1 as 1000, cached: [other-1]"] {
        project.commit(&ada, "again");
        let said = project.push(&ada);
        assert!(said.contains(expected), "{said}");
    }
    ada.run_in(&project, &["stack:set", "-s", "debian-12"]).ok();
    project.commit(&ada, "back");
    assert!(project.push(&ada).contains("on debian-12 as 1000, cached: [debian-12]"));
}

/// From one runtime to the other by the key, and back, with visitors served all the while.
#[test]
fn what_runs_is_carried_over_when_the_key_changes() {
    if !Place::Docker.is_there() {
        return;
    }
    let mut server = Place::Local.server("");
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    project.push(&ada);
    ada.run_in(&project, &["config:set", "WORD=kept"]).ok();
    ada.run_in(&project, &["ps:scale", "web=2"]).ok();
    let version = json(&ada, &project, &["releases"])[0]["version"].clone();
    for to in [Place::Docker, Place::Local] {
        server.terminate();
        server.reconfigure(&to.config(""));
        server.start_again();
        let cloud = if to == Place::Docker { "docker" } else { "local" };
        wait_until("all of it is there", LONG, || {
            assert_eq!(server.visit("hello", "/env/WORD").body, "kept", "{}", server.log());
            let now = status(&ada, &project);
            let pods = now["pods"].as_array().expect("pods");
            let replicas = std::fs::read_dir(server.data().join(folder(to))).map_or(0, |found| found.count());
            let left = std::fs::read_dir(server.data().join(folder(other(to)))).map_or(0, |found| found.count());
            now["cloud"] == cloud && pods.len() == 2 && now["replicas_running"] == 2 && replicas > 0 && left == 0
        });
        assert!(server.log().contains(&format!("to the {cloud} runtime")), "{}", server.log());
        assert_eq!(json(&ada, &project, &["releases"])[0]["version"], version, "nothing was built or released anew");
        let containers = docker::containers(&docker::server(&server.data().join("docker"))).len();
        assert_eq!(containers, if to == Place::Docker { 2 } else { 0 });
    }
    project.greet(&ada, "two");
    project.push(&ada);
    assert!(server.visit("hello", "/").body.starts_with("two "));
}

fn folder(place: Place) -> &'static str {
    if place == Place::Docker { "docker" } else { "replicas" }
}

fn other(place: Place) -> Place {
    if place == Place::Docker { Place::Local } else { Place::Docker }
}
