//! The web console's door, as a browser knocks: cookies in a jar, a token in a header, pages of other origins turned away.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{PASSWORD, Person, Project, Server, wait_until};

const ADA: &str = "ada@example.com";

/// curl as a browser with one window.
struct Browser<'a> {
    server: &'a Server,
    jar: PathBuf,
}

impl<'a> Browser<'a> {
    fn new(server: &'a Server, home: &Person, name: &str) -> Self {
        Self { server, jar: home.home().join(name) }
    }

    /// Status and body.
    fn ask(&self, method: &str, path: &str, headers: &[&str], body: &Value) -> (u16, Value) {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "60", "--noproxy", "*", "-w", "\n%{http_code}", "-X", method]);
        curl.arg("-b").arg(&self.jar).arg("-c").arg(&self.jar);
        for header in headers {
            curl.args(["-H", header]);
        }
        if !body.is_null() {
            curl.args(["-H", "content-type: application/json", "-d", &body.to_string()]);
        }
        let output = curl.arg(format!("{}/frontend/api/{path}", self.server.url())).output().expect("curl");
        let text = String::from_utf8(output.stdout).expect("text");
        let (body, status) = text.rsplit_once('\n').expect("a status");
        (status.parse().expect("a number"), serde_json::from_str(body).unwrap_or(Value::Null))
    }

    fn token(&self) -> String {
        let (status, answer) = self.ask("GET", "csrf", &[], &json!(null));
        assert_eq!(status, 200, "{answer}");
        format!("x-csrf-token: {}", answer["data"].as_str().expect("a token"))
    }

    fn get(&self, path: &str) -> (u16, Value) {
        self.ask("GET", path, &[], &json!(null))
    }

    #[track_caller]
    fn does(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, mut answer) = self.ask(method, path, &[&self.token()], body);
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer["data"].take()
    }
}

fn session(password: &str) -> Value {
    json!({"session": {"email": ADA, "password": password}})
}

#[test]
fn a_visit_by_cookie_sees_scales_and_shares_an_app() {
    let server = Server::with_config("signups = \"open\"\n");
    let ada = Person::sign_up(&server, ADA);
    let _ben = Person::sign_up(&server, "ben@example.com");
    let project = Project::example(&ada, "hello", "python-hello");
    project.push(&ada);
    let browser = Browser::new(&server, &ada, "jar");

    assert_eq!(browser.get("sessions").0, 401);
    assert_eq!(browser.ask("POST", "sessions", &[], &session(PASSWORD)).0, 403, "without a token");
    let token = browser.token();
    assert_eq!(browser.ask("POST", "sessions", &[&token], &session("wrong password")).0, 401);
    let (status, answer) = browser.ask("POST", "sessions", &[&token], &session(PASSWORD));
    assert_eq!((status, &answer["data"]["email"], &answer["data"]["tier"]), (200, &json!(ADA), &json!("FREE")));
    let (status, again) = browser.get("sessions");
    assert_eq!((status, &again["data"]["api_key"]), (200, &answer["data"]["api_key"]), "after the page is loaded anew");
    assert_eq!(browser.token(), token, "a token stays good");

    assert_eq!(browser.get("apps").1["data"][0]["unique_name"], "hello");
    assert_eq!(browser.get("apps/hello").1["data"]["replicas"], 1);
    assert_eq!(browser.does("POST", "apps/hello/scale", &json!({"size": 0.4, "replicas": 2}))["replicas"], 2);
    browser.does("POST", "apps/hello/permissions", &json!({"email": "ben@example.com"}));
    browser.does("DELETE", "apps/hello/permissions?email=ben@example.com", &json!(null));
    assert_eq!(browser.get("apps/hello/permissions").1["data"]["collaborators"], json!([]));
    for path in ["users", "invoices", "invoices/pdfs", "usage"] {
        assert_eq!(browser.get(path).0, 200, "{path}");
    }
    assert_eq!(browser.get("payment_methods").0, 404, "none was set");
    wait_until("memory and processor time are told", Duration::from_secs(60), || {
        let stats = browser.get("apps/hello/stats").1["data"].take();
        let newest = |what: &str| stats[what].as_array().and_then(|all| all.last()).map(|one| one[1].clone());
        newest("mem").is_some_and(|mem| mem.as_u64() > Some(3)) && newest("cpu").is_some_and(|cpu| cpu.is_u64())
    });
    let shown = ada.run_in(&project, &["ps:stats"]).ok();
    assert!(shown.contains("MiB") && shown.contains("millicores"), "{shown}");

    browser.does("DELETE", "sessions", &json!(null));
    assert_eq!(browser.get("apps").0, 401);
}

#[test]
fn pages_of_others_and_stolen_tokens_get_nowhere() {
    let server = Server::with_config("signups = \"open\"\n");
    let ada = Person::sign_up(&server, ADA);
    ada.run(&["apps:create", "-n", "hello"]).ok();
    let (browser, other) = (Browser::new(&server, &ada, "jar"), Browser::new(&server, &ada, "other"));
    browser.does("POST", "sessions", &session(PASSWORD));
    let token = browser.token();

    for foreign in ["origin: http://evil.example.com", "sec-fetch-site: same-site", "origin: null"] {
        assert_eq!(browser.ask("GET", "apps", &[foreign], &json!(null)).0, 403, "{foreign}");
        assert_eq!(browser.ask("DELETE", "apps/hello", &[foreign, &token], &json!(null)).0, 403, "{foreign}");
    }
    let own = format!("origin: {}", server.url());
    assert_eq!(browser.ask("GET", "apps", &[&own, "sec-fetch-site: same-origin"], &json!(null)).0, 200);
    assert_eq!(browser.ask("DELETE", "apps/hello", &[&other.token()], &json!(null)).0, 403, "another browser's");
    let upgrade = ["connection: upgrade", "upgrade: websocket"];
    assert_eq!(browser.ask("GET", "apps/hello", &upgrade, &json!(null)).0, 403);
    let stolen = std::fs::read_to_string(&browser.jar).expect("a jar");
    std::fs::write(&other.jar, stolen.replace("gigalixir_session\t", "gigalixir_session\tx")).expect("a jar");
    assert_eq!(other.get("apps").0, 401, "a cookie that was made up");
    let (_, who) = browser.get("sessions");
    let key = format!("{ADA}:{}", who["data"]["api_key"].as_str().expect("a key"));
    let basic = format!("authorization: Basic {}", base64::Engine::encode(&base64::prelude::BASE64_STANDARD, key));
    assert_eq!(Browser::new(&server, &ada, "none").ask("GET", "apps", &[&basic], &json!(null)).0, 401, "cookies only");

    // The visit ends with its key.
    ada.run_with_input(&["account:api_key:reset", "--password-stdin"], PASSWORD).ok();
    assert_eq!(browser.get("apps").0, 401);
    assert!(ada.run(&["apps"]).ok().contains("hello"), "and nothing was done");
}

#[test]
fn accounts_begin_and_passwords_are_set_anew() {
    let server = Server::with_config("signups = \"open\"\n");
    let ada = Person::sign_up(&server, ADA);
    let browser = Browser::new(&server, &ada, "jar");
    browser.does("POST", "users", &json!({"email": "cat@example.com", "password": PASSWORD}));
    browser.does("POST", "users/reconfirm_email", &json!({"email": "cat@example.com"}));
    browser.does("POST", "users/reset_password", &json!({"email": ADA}));
    let token = crate::harness::secret_mailed(&server, ADA, "Token:");
    browser.does("POST", "users/set_password", &json!({"token": token, "password": "another fine one"}));
    let token = browser.token();
    assert_eq!(browser.ask("POST", "sessions", &[&token], &session(PASSWORD)).0, 401);
    browser.does("POST", "sessions", &session("another fine one"));
}
