//! The clients of 2017 on the wire: what 0.1.0 to 0.3.0 send, where it differs from today's client. They announce
//! themselves as python-requests, and log in with the password as it is, not encoded.

use serde_json::{Value, json};

use crate::harness::{Person, Project, Reply, Server, Wire, secret_mailed};

const ADA: &str = "ada+x@example.com";
/// Would be another one if it were decoded.
const PASSWORD: &str = "p:a ss/é%41";
const AGENT: &str = "python-requests/2.13.0";

struct Seed {
    server: Server,
    wire: Wire,
    key: String,
}

impl Seed {
    fn begin() -> Self {
        let server = Server::with_config("signups = \"open\"\n[rates]\ncodes_per_address = 0\n");
        let wire = Wire::of(&server);
        wire.sign_up_with(&server, ADA, PASSWORD);
        wire.sign_up(&server, "ben@example.com");
        let login = wire.ask_as(AGENT, Some((ADA, PASSWORD)), "GET", "/api/login", json!(null)).data(200);
        let key = login["key"].as_str().expect("a key").to_owned();
        Self { server, wire, key }
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, body: Value) -> Reply {
        self.wire.ask_as(AGENT, Some((ADA, &self.key)), method, path, body)
    }

    #[track_caller]
    fn by_password(&self, password: &str, method: &str, path: &str, body: Value) -> Reply {
        self.wire.ask_as(AGENT, Some((ADA, password)), method, path, body)
    }
}

#[test]
fn apps_of_2017() {
    let seed = Seed::begin();
    seed.ask("POST", "/api/apps", json!({ "unique_name": "hill" })).data(201);
    let person = Person::stranger(&seed.server);
    let project = Project::empty(&person, "hill");
    project.greet_by_python(&person, "one");
    let remote = format!("http://ada%2Bx%40example.com:{}@{}/hill.git", seed.key, seed.server.api);
    person.git(&project, &["push", &remote, "HEAD:refs/heads/master"]).ok();

    // Thousandths, as 0.1.0 has them.
    let scaled = seed.ask("PUT", "/api/apps/hill/scale", json!({ "replicas": 1, "size": 600 })).data(200);
    assert_eq!(scaled["size"], 0.6);
    let listed = seed.ask("GET", "/api/apps", json!(null)).data(200)[0].clone();
    assert_eq!((&listed["size"], &listed["size_m"], &listed["replicas"]), (&json!(0.6), &json!(600), &json!(1)));

    // One variable at a time, and the replicas stay as they are.
    let version = |seed: &Seed| seed.ask("GET", "/api/apps/hill/status", json!(null)).data(200)["pods"][0].clone();
    let before = version(&seed)["name"].clone();
    seed.ask("POST", "/api/apps/hill/configs", json!({ "key": "K", "value": "1" })).data(201);
    assert_eq!(seed.ask("GET", "/api/apps/hill/configs", json!(null)).data(200), json!({ "K": "1" }));
    assert_eq!(version(&seed)["name"], before, "setting did not restart");
    assert_eq!(seed.server.visit("hill", "/env/K").body.trim(), "");
    seed.ask("PUT", "/api/apps/hill/restart", json!(null)).data(200);
    assert_eq!(seed.server.visit("hill", "/env/K").body.trim(), "1");
    seed.ask("DELETE", "/api/apps/hill/configs", json!({ "key": "K" })).data(200);
    assert_eq!(seed.ask("GET", "/api/apps/hill/configs", json!(null)).data(200), json!({}));

    // A release is gone back to by its other name; element 1 is the default.
    let releases = seed.ask("GET", "/api/apps/hill/releases", json!(null)).data(200);
    assert_eq!(releases[0]["slug_url"], "<REDACTED>");
    let id = releases[1]["rollback_id"].as_str().expect("an id");
    seed.ask("POST", &format!("/api/apps/hill/releases/{id}/rollback"), json!(null)).data(200);
    assert_eq!(seed.ask("GET", "/api/apps/hill/configs", json!(null)).data(200), json!({ "K": "1" }));

    // The log goes on, though nothing in the request asks for it.
    let who = Some((ADA, seed.key.as_str()));
    let said = seed.wire.listen(AGENT, who, "/api/apps/hill/logs", "request /env/WHILE_IT_IS_READ", || {
        assert_eq!(seed.server.visit("hill", "/env/WHILE_IT_IS_READ").status, 200);
    });
    assert!(said.contains("web.1  | booting one"), "old lines come first: {said}");
    let function = json!({ "module": "Hill.Tasks", "function": "migrate" });
    for method in ["PUT", "POST"] {
        let job = seed.ask(method, "/api/apps/hill/run", function.clone()).data(200);
        assert!(job["command"].as_str().is_some_and(|text| text.contains("Elixir.Hill.Tasks.migrate()")), "{job}");
    }

    for (path, body) in
        [("domains", json!({ "fqdn": "hill.test" })), ("permissions", json!({ "email": "ben@example.com" }))]
    {
        let path = format!("/api/apps/hill/{path}");
        seed.ask("POST", &path, body.clone()).data(201);
        seed.ask("GET", &path, json!(null)).data(200);
        seed.ask("DELETE", &path, body).data(200);
    }
}

#[test]
fn accounts_of_2017() {
    let mut seed = Seed::begin();
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ada@home";
    let id = seed.ask("POST", "/api/ssh_keys", json!({ "ssh_key": key })).data(201)["id"].clone();
    seed.ask("DELETE", &format!("/api/ssh_keys/{}", id.as_str().expect("text")), json!(null)).data(200);
    assert_eq!(seed.ask("GET", "/api/ssh_keys", json!(null)).data(200), json!([]));

    // 201 for them, 200 for today's client.
    seed.ask("PUT", "/api/payment_methods", json!({ "stripe_token": "tok_1" })).data(201);
    let today =
        seed.wire.ask(Some((ADA, &seed.key)), "PUT", "/api/payment_methods", json!({ "stripe_token": "tok_2" }));
    today.data(200);

    // 0.1.0: the present password signs the change.
    seed.by_password("wrong wrong", "PATCH", "/api/users", json!({ "new_password": "a second one" })).refusal(401);
    seed.by_password(PASSWORD, "PATCH", "/api/users", json!({ "new_password": "a second one" })).data(200);
    // 0.2.0: change_password, set_password.
    let wish = json!({ "current_password": "a second one", "new_password": "a third one" });
    seed.ask("PATCH", "/api/users/change_password", wish).data(200);
    seed.wire.ask_as(AGENT, None, "PUT", "/api/users/reset_password", json!({ "email": ADA })).data(200);
    let token = secret_mailed(&seed.server, ADA, "set a new password");
    let wish = json!({ "token": token, "password": PASSWORD });
    seed.wire.ask_as(AGENT, None, "POST", "/api/users/reset_password", wish).data(200);

    // 0.1.0: a key for the password; 0.2.0: reset_api_key.
    let made = seed.by_password(PASSWORD, "POST", "/api/api_keys", json!(null)).data(201);
    seed.key = made["key"].as_str().expect("a key").to_owned();
    let path = "/api/api_keys/regenerate?current_password=p%3Aa%20ss%2F%C3%A9%2541";
    let former = std::mem::take(&mut seed.key);
    let made = seed.wire.ask_as(AGENT, Some((ADA, &former)), "POST", path, json!(null)).data(201);
    seed.key = made["key"].as_str().expect("a key").to_owned();
    seed.ask("GET", "/api/users", json!(null)).data(200);
    seed.wire.ask_as(AGENT, Some((ADA, &former)), "GET", "/api/users", json!(null)).refusal(401);

    // The one refusal that is a plain list.
    let refused = seed.wire.ask_as(AGENT, None, "GET", "/api/validate_email?email=nonsense", json!(null));
    assert_eq!(refused.status, 422);
    let errors: Value = serde_json::from_str(&refused.text).expect("JSON");
    assert!(errors["errors"].as_array().is_some_and(|list| list.len() == 1), "{errors}");
    seed.wire.ask_as(AGENT, None, "GET", "/api/validate_email?email=ada@example.com", json!(null)).data(200);
}
