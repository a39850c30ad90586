//! Stacks from a registry: pulled, checked, pinned, used.

use std::path::Path;

use serde_json::Value;

use crate::harness::registry::{Registry, docker};
use crate::harness::{Person, Place, Project, Ran};

/// What a stack's images have to have.
const PROGRAMS: &[&str] = &[
    "bash",
    "cat",
    "env",
    "sh",
    "tar",
    "curl",
    "cp",
    "find",
    "git",
    "grep",
    "gzip",
    "mktemp",
    "sed",
    "sha256sum",
    "tr",
];

/// A registry, and where stacks are described.
struct Stage {
    registry: Registry,
    folder: tempfile::TempDir,
}

impl Stage {
    fn begin() -> Option<Self> {
        if !Place::Docker.is_there() {
            return None;
        }
        Some(Self { registry: Registry::start()?, folder: tempfile::tempdir().expect("folder") })
    }

    fn describe(&self, folder: &Path, stack: &str, image: &str) {
        let text = format!("run = \"{image}\"\nbuild = \"{image}\"\n");
        std::fs::write(folder.join(format!("{stack}.toml")), text).expect("stack");
    }

    fn pull(&self, stack: &str) -> Ran {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_gigalixir"));
        command.args(["stacks:pull", stack, "--stacks-dir"]).arg(self.folder.path());
        Ran::finished(command)
    }
}

/// Removes the images of a test, which are nobody else's.
struct Forget(Vec<String>);

impl Drop for Forget {
    fn drop(&mut self) {
        for image in &self.0 {
            let listed = docker(&["images", "-q", "--no-trunc", "--filter", &format!("reference={image}")]);
            for id in listed.split_whitespace() {
                let _ = std::process::Command::new("docker").args(["rmi", "-f", id]).output();
            }
        }
    }
}

fn pins(stack: &str) -> Forget {
    Forget(vec![format!("gigalixir/stack:{stack}.*"), "gigalixir/stack:old-*".to_owned()])
}

/// What is in the image that a stack's pin leads to.
fn version(stack: &str) -> String {
    let listed =
        docker(&["images", "--format", "{{.Tag}}", "--filter", &format!("reference=gigalixir/stack:{stack}.run.*")]);
    let pin = format!("gigalixir/stack:{}", listed.trim());
    docker(&["run", "--rm", "--network", "none", &pin, "/bin/bash", "-c", "echo \"$(</version)\""]).trim().to_owned()
}

#[test]
fn what_is_pulled_is_pinned_until_it_is_pulled_again() {
    let Some(stage) = Stage::begin() else { return };
    let _forget = pins("moving-1");
    let image = stage.registry.image("moving:1");
    stage.describe(stage.folder.path(), "moving-1", &image);
    let first = stage.registry.push("moving:1", PROGRAMS, "first");
    let told = stage.pull("moving-1").ok_stderr();
    assert!(told.contains(&format!("moving-1: {image} is {first}.")) && told.contains("MiB"), "{told}");
    assert_eq!(version("moving-1"), "first");

    let second = stage.registry.push("moving:1", PROGRAMS, "second");
    docker(&["pull", &image]);
    assert_eq!(version("moving-1"), "first", "a pull by somebody else moves nothing");
    let told = stage.pull("moving-1").ok_stderr();
    assert!(told.contains(&second) && told.contains("Removed 1 earlier image"), "{told}");
    assert_eq!(version("moving-1"), "second");

    // A digest in the stack's file is what it is, whatever the tag says now.
    stage.describe(stage.folder.path(), "still-1", &format!("{image}@{first}"));
    let _forget_too = pins("still-1");
    assert!(stage.pull("still-1").ok_stderr().contains(&first));
    assert_eq!(version("still-1"), "first");
    stage.describe(stage.folder.path(), "still-1", &format!("{image}@sha256:{}", "0".repeat(64)));
    assert!(stage.pull("still-1").fails().contains("not found"));
}

#[test]
fn an_image_that_apps_cannot_live_in_is_refused() {
    let Some(stage) = Stage::begin() else { return };
    let _forget = pins("bare-1");
    let image = stage.registry.image("bare:1");
    stage.describe(stage.folder.path(), "bare-1", &image);
    for (programs, lacks) in [(&[][..], "it has no /bin/bash"), (&["bash", "cat", "env", "sh"], "it has no tar")] {
        stage.registry.push("bare:1", programs, "x");
        let told = stage.pull("bare-1").fails();
        assert!(told.contains(lacks) && told.contains(&image), "{told}");
    }
    let unknown = stage.pull("nowhere-1").fails();
    assert!(unknown.contains("there is no stack `nowhere-1`, only bare-1, debian-12, gigalixir-24"), "{unknown}");
    let other_way = stage.pull("debian-12").fails();
    assert!(other_way.contains("gigalixir stacks:build debian-12"), "{other_way}");
}

#[test]
fn a_push_pulls_what_it_is_built_on() {
    let Some(stage) = Stage::begin() else { return };
    let _forget = pins("fresh-1");
    let image = stage.registry.image("fresh:1");
    let digest = stage.registry.push("fresh:1", PROGRAMS, "fresh");
    let mut server = Place::Docker.server("");
    server.terminate();
    stage.describe(&server.stacks(), "fresh-1", &image);
    server.start_again();
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::empty(&ada, "hello");
    project.write("Procfile", "worker: true\n");
    project.commit(&ada, "first");
    project.create_app(&ada);
    ada.run_in(&project, &["stack:set", "fresh-1"]).ok();
    let stack = || {
        let all: Value = serde_json::from_str(&ada.run_in(&project, &["stacks", "--json"]).ok()).expect("json");
        all.as_array().expect("a list").iter().find(|stack| stack["name"] == "fresh-1").expect("the stack").clone()
    };
    assert_eq!(stack()["images"][1]["state"], "missing");
    let hint = ada.run_in(&project, &["stacks"]).ok_stderr();
    assert!(hint.contains("gigalixir stacks:pull fresh-1"), "{hint}");
    let said = project.push(&ada);
    assert!(said.contains(&format!("-----> Pulling {image}")) && said.contains("Deployed hello"), "{said}");
    let now = stack();
    assert_eq!(
        (&now["images"][0]["state"], &now["images"][1]["digest"]),
        (&"ready".into(), &Value::from(digest)),
        "{now}"
    );
}
