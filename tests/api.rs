//! The API as it describes itself: every operation of `/api/openapi.json` answers as it says, on a real platform.

use serde_json::{Value, json};

use crate::harness::{PASSWORD, Person, Project, Reply, Server, Wire, secret_mailed};

const ADA: &str = "ada@example.com";
const BEN: &str = "ben@example.com";
const SSH_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ada@home";

/// A platform for everybody, and somebody with an account on it.
struct Story {
    server: Server,
    wire: Wire,
    key: String,
}

impl Story {
    fn begin() -> Self {
        let server = Server::with_config(
            "signups = \"open\"\n[rates]\ncodes_per_address = 0\nlogins_per_address = 0\nmails_per_recipient = 0\n\
             [limits]\nprivate_drains = true\n",
        );
        let wire = Wire::of(&server);
        let key = wire.sign_up(&server, ADA);
        Self { server, wire, key }
    }

    /// As Ada, by her key.
    #[track_caller]
    fn ada(&self, method: &str, path: &str, body: Value) -> Reply {
        self.wire.ask(Some((ADA, &self.key)), method, path, body)
    }

    /// Pushes a small app that is already made.
    fn push(&self, app: &str) {
        let person = Person::stranger(&self.server);
        let project = Project::empty(&person, app);
        project.greet_by_python(&person, "one");
        let remote = format!("http://{}:{}@{}/{app}.git", ADA.replace('@', "%40"), self.key, self.server.api);
        person.git(&project, &["push", &remote, "HEAD:refs/heads/master"]).ok();
    }
}

#[test]
fn every_operation_answers_as_described() {
    let mut story = Story::begin();
    let ben = story.wire.sign_up(&story.server, BEN);
    apps_and_what_runs(&story);
    what_runs_once_and_what_is_seen(&story);
    apps_and_their_fronts(&story);
    keys_and_cards(&story);
    second_factor(&story);
    addresses_and_passwords(&mut story);
    for path in ["/healthz", "/ca.pem", "/api/openapi.json", "/api/validate_email?email=ada@example.com"] {
        assert_eq!(story.wire.ask(None, "GET", path, json!(null)).status, 200);
    }
    let gone = json!({ "email": BEN, "current_password": PASSWORD });
    story.wire.ask(Some((BEN, &ben)), "DELETE", "/api/users/destroy", gone).data(200);

    // What a replica, a cluster's build, an ingress or a WebSocket's client alone gets, and what only an Erlang node, a mix
    // release or a mailed link answers, has tests of its own.
    let unreached = [
        ("GET", "/api/apps/{app}/exec"),
        ("GET", "/api/apps/{app}/tunnel"),
        ("GET", "/api/apps/{app}/run"),
        ("GET", "/api/apps/{app}/observer"),
        ("GET", "/api/apps/{app}/observer/node"),
        ("GET", "/api/apps/{app}/releases/{which}/upgrade-plan/{to}"),
        ("GET", "/api/apps/{app}/host_indexes/{host}/assign"),
        ("GET", "/api/apps/{app}/releases/current"),
        ("GET", "/api/apps/{app}/ssh_keys"),
        ("POST", "/api/apps/{app}/flame"),
        ("GET", "/api/default_backend/domain"),
        ("POST", "/api/free_users"),
        ("GET", "/api/users/confirm/{id}/{code}"),
        ("POST", "/api/users/confirm/{id}/{code}"),
        ("GET", "/slugs/{file}"),
        ("GET", "/builds/{build}/folders"),
        ("PUT", "/builds/{build}/folders"),
        ("PATCH", "/api/apps/{app}"), // always refused, as its description says
        ("PUT", "/api/apps/{app}"),
        ("POST", "/api/users"),
    ];
    let unreached = unreached.map(|(method, path)| (method.to_owned(), path.to_owned()));
    let mut left = story.wire.operations();
    // What is not offered never succeeds.
    left.retain(|(_, path)| !["database", "oauth"].iter().any(|word| path.contains(word)));
    left.retain(|operation| !story.wire.succeeded().contains(operation) && !unreached.contains(operation));
    assert!(left.is_empty(), "nobody saw these succeed: {left:#?}");
}

fn apps_and_what_runs(story: &Story) {
    let app = story.ada("POST", "/api/apps", json!({ "unique_name": "hill" })).data(201);
    assert_eq!(app["unique_name"], "hill");
    story.push("hill");
    story.ada("POST", "/api/apps/hill/configs", json!({ "configs": { "A": "1" }, "avoid_restart": true })).data(201);
    story.ada("GET", "/api/apps", json!(null)).data(200);
    story.ada("GET", "/api/apps/hill", json!(null)).data(200);
    story.ada("GET", "/api/apps/hill/configs", json!(null)).data(200);
    story.ada("GET", "/api/apps/hill/status", json!(null)).data(200);
    story.ada("GET", "/api/apps/hill/stats", json!(null)).data(200);
    story.ada("PUT", "/api/apps/hill/scale", json!({ "replicas": 2 })).data(200);
    story.ada("PUT", "/api/apps/hill/restart", json!(null)).data(200);
    story.ada("DELETE", "/api/apps/hill/configs", json!({ "key": "A" })).data(200);
    let releases = story.ada("GET", "/api/apps/hill/releases", json!(null)).data(200);
    story.ada("GET", "/api/apps/hill/releases/latest", json!(null)).data(200);
    let first = format!("/api/apps/hill/releases/{}/rollback", releases[1]["version"]);
    story.ada("POST", &first, json!(null)).data(200);
    let logs = story.ada("GET", "/api/apps/hill/logs?follow=False&num_lines=5", json!(null));
    assert_eq!((logs.status, logs.text.lines().count()), (200, 5), "{}", logs.text);
    story.ada("GET", "/api/stacks", json!(null)).data(200);
    story.ada("GET", "/api/nodes", json!(null)).data(200);
    story.ada("PUT", "/api/apps/hill/stack", json!({ "stack": app["stack"] })).data(200);
    let status = story.ada("GET", "/api/apps/hill/status", json!(null)).data(200);
    let pods = status["pods"].as_array().expect("pods");
    let pod = pods.iter().find(|pod| pod["status"] == "Healthy").expect("a healthy one")["name"].as_str();
    story.ada("DELETE", &format!("/api/apps/hill/pods/{}", pod.expect("its name")), json!(null)).data(202);
}

fn what_runs_once_and_what_is_seen(story: &Story) {
    let fine = |method: &str, path: &str, body: serde_json::Value| {
        let reply = story.ada(method, &format!("/api/apps/hill{path}"), body);
        assert!(reply.status < 300, "{method} {path}: {}", reply.text);
        reply.json()["data"].take()
    };
    for method in ["POST", "PUT"] {
        fine(method, "/run", json!({ "command": ["sleep", "300"] }));
    }
    let jobs = fine("GET", "/jobs", json!(null));
    let id = jobs[0]["id"].as_i64().expect("a job");
    fine("GET", &format!("/jobs/{id}"), json!(null));
    let logs = story.ada("GET", &format!("/api/apps/hill/jobs/{id}/logs"), json!(null));
    assert_eq!(logs.status, 200, "{}", logs.text);
    fine("DELETE", &format!("/jobs/{id}"), json!(null));
    fine("POST", "/schedules", json!({ "schedule": "0 3 1 1 *", "command": ["true"], "name": "yearly" }));
    fine("GET", "/schedules", json!(null));
    fine("DELETE", "/schedules/yearly", json!(null));
    fine("POST", "/drains", json!({ "url": "syslog://127.0.0.1:9" }));
    let drain = fine("GET", "/drains", json!(null))[0]["id"].clone();
    fine("DELETE", "/drains", json!({ "drain_id": drain }));
    for path in ["/usage", "/ssh_ip", "/observer-commands", "/releases/migrate-command"] {
        fine("GET", path, json!(null));
    }
    fine("POST", "/cookie", json!(null));
    for path in ["/api/usage", "/api/usage/run_rate", "/api/invoices"] {
        story.ada("GET", path, json!(null)).data(200);
    }
}

fn apps_and_their_fronts(story: &Story) {
    story.ada("POST", "/api/apps", json!({ "unique_name": "dale" })).data(201);
    story.ada("POST", "/api/apps/dale/configs/copy", json!({ "from": "hill" })).data(200);
    story.ada("POST", "/api/apps/hill/domains", json!({ "fqdn": "hill.test" })).data(201);
    story.ada("GET", "/api/apps/hill/domains", json!(null)).data(200);
    story.ada("DELETE", "/api/apps/hill/domains", json!({ "fqdn": "hill.test" })).data(200);
    let host = story.ada("GET", "/api/apps/hill/certs", json!(null)).data(200)[0]["fqdn"].clone();
    let made = rcgen::generate_simple_self_signed(vec![host.as_str().expect("a host").to_owned()]).expect("made");
    let own = json!({ "fqdn": host, "certificate": made.cert.pem(), "key": made.signing_key.serialize_pem() });
    story.ada("POST", "/api/apps/hill/certs", own).data(201);
    story.ada("DELETE", "/api/apps/hill/certs", json!({ "fqdn": host })).data(200);
    story.ada("POST", "/api/apps/hill/certs/renew", json!({ "fqdn": host })).data(200);
    story.ada("PUT", "/api/apps/hill/canaries", json!({ "canary": "dale", "weight": 5 })).data(200);
    story.ada("GET", "/api/apps/hill/canaries", json!(null)).data(200);
    story.ada("DELETE", "/api/apps/hill/canaries/dale", json!(null)).data(200);
    story.ada("PUT", "/api/apps/hill/maintenance", json!({ "enable": true })).data(200);
    story.ada("PUT", "/api/apps/hill/maintenance/page", json!({ "html": "<p>Back soon.</p>" })).data(200);
    story.ada("GET", "/api/apps/hill/maintenance/page", json!(null)).data(200);
    let rules = json!({ "max_connections": 5, "canonical": "apex", "access_log": true });
    story.ada("PATCH", "/api/apps/hill/router", rules).data(200);
    story.ada("GET", "/api/apps/hill/router", json!(null)).data(200);
    assert_eq!(story.ada("GET", "/metrics", json!(null)).status, 200);
    story.ada("POST", "/api/apps/hill/permissions", json!({ "email": BEN })).data(201);
    story.ada("GET", "/api/apps/hill/permissions", json!(null)).data(200);
    story.ada("DELETE", "/api/apps/hill/permissions", json!({ "email": BEN })).data(200);
    story.ada("GET", "/api/apps/hill/activity", json!(null)).data(200);
    story.ada("DELETE", "/api/apps/dale", json!(null)).data(200);
    story.ada("PATCH", "/api/apps/hill", json!({ "unique_name": "vale" })).refusal(422);
    story.ada("PUT", "/api/apps/hill", json!({ "unique_name": "vale" })).refusal(422);
}

fn keys_and_cards(story: &Story) {
    story.ada("GET", "/api/users", json!(null)).data(200);
    let id = story.ada("POST", "/api/ssh_keys", json!({ "ssh_key": SSH_KEY })).data(201)["id"].clone();
    story.ada("GET", "/api/ssh_keys", json!(null)).data(200);
    story.ada("DELETE", "/api/ssh_keys", json!({ "id": id })).data(200);
    let id = story.ada("POST", "/api/ssh_keys", json!({ "ssh_key": SSH_KEY })).data(201)["id"].clone();
    story.ada("DELETE", &format!("/api/ssh_keys/{}", id.as_str().expect("text")), json!(null)).data(200);
    story.ada("GET", "/api/payment_methods", json!(null)).refusal(404);
    story.ada("PUT", "/api/payment_methods", json!({ "stripe_token": "tok_1" })).data(200);
    story.ada("GET", "/api/payment_methods", json!(null)).data(200);
    story.ada("POST", "/api/upgrade", json!({ "stripe_token": "tok_1" })).data(200);
}

fn second_factor(story: &Story) {
    let url = story.ada("POST", "/api/mfa/start", json!(null)).data(200)["url"].as_str().expect("a url").to_owned();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("clock").as_secs();
    let token = totp_rs::Totp::from_url(&url).expect("a secret").generate(now).to_string();
    story.ada("POST", "/api/mfa/verify", json!({ "mfa_token": token })).data(200);
    let asked = story.wire.ask(Some((ADA, PASSWORD)), "GET", "/api/login", json!(null));
    assert!(asked.status == 303 && !asked.headers.contains_key("location"), "{asked:?}");
    story.ada("POST", "/api/mfa/recovery_codes", json!(null)).data(200);
    story.ada("DELETE", "/api/mfa", json!(null)).data(200);
}

fn addresses_and_passwords(story: &mut Story) {
    let (wire, next) = (&story.wire, "ada@new.example.com");
    let wish = json!({ "next_email": next, "current_password": PASSWORD });
    story.ada("POST", "/api/users/email", wish).data(200);
    let (confirm, revoke) =
        (secret_mailed(&story.server, next, "Token:"), secret_mailed(&story.server, ADA, "email:revoke"));
    wire.ask(None, "POST", "/api/users/email/confirm", json!({ "token": confirm })).data(200);
    wire.ask(None, "POST", "/api/users/email/revoke", json!({ "token": revoke })).data(200);
    wire.ask(None, "PUT", "/api/users/reconfirm_email", json!({ "email": ADA })).data(200);
    wire.ask(None, "PUT", "/api/users/reset_password", json!({ "email": ADA })).data(200);
    let token = secret_mailed(&story.server, ADA, "set a new password");
    let wish = json!({ "token": token, "password": "another good one" });
    wire.ask(None, "POST", "/api/users/reset_password", wish).data(200);
    let login = wire.ask(Some((ADA, "another good one")), "GET", "/api/login", json!(null)).data(200);
    story.key = login["key"].as_str().expect("a key").to_owned();
    let wish = json!({ "current_password": "another good one", "new_password": "a third fine one" });
    story.ada("PATCH", "/api/users/change_password", wish).data(200);
    let wish = json!({ "new_password": PASSWORD });
    story.wire.ask(Some((ADA, "a third fine one")), "PATCH", "/api/users", wish).data(200);
    let path = format!("/api/api_keys/regenerate?current_password={}", PASSWORD.replace(' ', "%20"));
    story.key = story.ada("POST", &path, json!(null)).data(201)["key"].as_str().expect("a key").to_owned();
    let made = story.wire.ask(Some((ADA, PASSWORD)), "POST", "/api/api_keys", json!(null)).data(201);
    story.key = made["key"].as_str().expect("a key").to_owned();
    story.ada("GET", "/api/users", json!(null)).data(200);
}
