//! A whole day of somebody who knows nothing but Gigalixir's own client: from signing up to the app's end.

use serde_json::json;

use crate::harness::{Official, Person, Project, Server, get};
use crate::official::sign_up;

#[test]
fn from_signup_to_destroy_with_the_official_client() {
    let server = Server::with_config("signups = \"open\"\n");
    let Some(official) = sign_up(&server) else { return };
    let project = created_and_pushed(&server, &official);
    scaled_and_configured(&server, &official, &project);
    own_domain(&server, &official, &project);
    shared(&server, &official, &project);

    project.greet(&official.person, "two");
    project.push(&official.person);
    assert!(server.visit("story", "/").body.starts_with("two "));
    assert_eq!(official.json(&project, &["releases:rollback"]), "rolled back");
    assert!(server.visit("story", "/").body.starts_with("one "));
    let newest = official.json(&project, &["releases"])[0].clone();
    assert!(newest["summary"].as_str().is_some_and(|text| text.starts_with("Rollback")), "{newest}");

    official.json(&project, &["maintenance:on", "-y"]);
    assert_eq!(server.visit("story", "/").status, 503);
    official.json(&project, &["maintenance:off", "-y"]);
    assert_eq!(server.visit("story", "/").status, 200);

    canary(&server, &official, &project);

    let activity = official.json(&project, &["apps:activity"]).to_string();
    for kind in ["deploy", "scale", "config", "domain", "access", "rollback", "maintenance", "canary"] {
        assert!(activity.contains(&format!("\"{kind}\"")), "no {kind} in {activity}");
    }
    let refused = official.run_in(&project, &["ps:scale", "-r", "101"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""), "a refusal is an exit status of 1");
    let destroyed = official.run_in(&project, &["apps:destroy", "-y"]);
    assert_eq!((destroyed.code, destroyed.stdout.trim()), (Some(0), "\"deleted\""));
    assert_eq!(server.visit("story", "/").status, 404);
    assert_eq!(get(server.http, "www.story.test", "/").status, 404);
    assert_eq!(official.run_in(&project, &["ps"]).code, Some(1));
    let left = official.json(&project, &["apps"]);
    assert!(left.as_array().is_some_and(|apps| apps.len() == 1 && apps[0]["unique_name"] == "next"), "{left}");
}

fn created_and_pushed(server: &Server, official: &Official) -> Project {
    let project = Project::empty(&official.person, "story");
    let made = official.run_in(&project, &["create", "-n", "story"]);
    assert_eq!((made.code, made.stdout.as_str()), (Some(0), "story\n"));
    assert!(made.stderr.contains("Created app: story."), "{}", made.stderr);
    project.greet_by_python(&official.person, "one");
    project.push(&official.person);
    assert!(server.visit("story", "/").body.starts_with("one "));
    project
}

fn scaled_and_configured(server: &Server, official: &Official, project: &Project) {
    let scaled = official.json(project, &["ps:scale", "-r", "2", "-s", "0.6"]);
    assert_eq!((&scaled["replicas"], &scaled["size"]), (&json!(2), &json!(0.6)), "{scaled}");
    let status = official.json(project, &["ps"]);
    assert_eq!((&status["replicas_desired"], &status["replicas_running"]), (&json!(2), &json!(2)), "{status}");
    official.json(project, &["ps:scale", "-r", "1"]);
    official.json(project, &["config:set", "WHO=ada", "TEXT=a b"]);
    assert_eq!(server.visit("story", "/env/TEXT").body.trim(), "a b");
    assert_eq!(official.json(project, &["config"]), json!({ "WHO": "ada", "TEXT": "a b" }));
    official.json(project, &["config:unset", "TEXT"]);
    assert_eq!(server.visit("story", "/env/TEXT").body.trim(), "");
}

fn own_domain(server: &Server, official: &Official, project: &Project) {
    let told = official.run_in(project, &["domains:add", "www.story.test"]);
    assert_eq!(told.code, Some(0));
    assert!(format!("{}{}", told.stdout, told.stderr).contains("story.localhost"), "{}{}", told.stdout, told.stderr);
    assert_eq!(official.json(project, &["domains"]), json!(["www.story.test"]));
    assert!(get(server.http, "www.story.test", "/").body.starts_with("one "));
    official.run_in(project, &["domains:add", "old.story.test"]).ok();
    official.run_in(project, &["domains:remove", "old.story.test"]).ok();
    assert_eq!(get(server.http, "old.story.test", "/").status, 404);
    assert_eq!(official.json(project, &["domains"]), json!(["www.story.test"]));
}

/// Ben looks, then works, then is out again; he too has only the official client.
fn shared(server: &Server, official: &Official, project: &Project) {
    let ben = Person::sign_up(server, "ben@example.com");
    let as_ben = |args: &[&str]| official.lend_to(&ben, project, args);
    assert_eq!(as_ben(&["ps"]).code, Some(1), "a stranger");
    official.run_in(project, &["access:add", "ben@example.com", "--role", "VIEWER"]).ok();
    as_ben(&["ps"]).ok();
    assert!(as_ben(&["config:set", "WHO=ben"]).code == Some(1), "a viewer");
    official.run_in(project, &["access:remove", "ben@example.com"]).ok();
    official.run_in(project, &["access:add", "ben@example.com"]).ok();
    as_ben(&["config:set", "WHO=ben"]).ok();
    assert_eq!(server.visit("story", "/env/WHO").body.trim(), "ben");
    assert!(official.json(project, &["access"]).to_string().contains("ben@example.com"));
    official.run_in(project, &["access:remove", "ben@example.com"]).ok();
    assert_eq!(as_ben(&["ps"]).code, Some(1), "a stranger again");
}

/// All visitors go to another app, then none.
fn canary(server: &Server, official: &Official, project: &Project) {
    let next = Project::empty(&official.person, "next");
    official.run_in(&next, &["create", "-n", "next"]).ok();
    next.greet_by_python(&official.person, "next");
    next.push(&official.person);
    official.json(project, &["canary:set", "-c", "next", "-w", "100"]);
    assert_eq!(official.json(project, &["canary"]), json!([{ "canary": "next", "weight": 100 }]));
    assert!(server.visit("story", "/").body.starts_with("next "));
    official.json(project, &["canary:unset", "-c", "next"]);
    assert!(server.visit("story", "/").body.starts_with("one "));
}
