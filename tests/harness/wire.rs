//! The API on the wire: any request, and every answer held against the description that the server itself serves.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::person::PASSWORD;
use super::{Server, wait_until};

/// A caller of the API who checks what it is told.
pub struct Wire {
    url: String,
    runtime: Runtime,
    client: reqwest::Client,
    document: Value,
    seen: RefCell<BTreeSet<(String, String)>>,
}

/// Somebody's address and key (or password).
pub type Basic<'a> = Option<(&'a str, &'a str)>;

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Reply {
    /// The answer's `data`; the request must have succeeded with that status.
    #[track_caller]
    pub fn data(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.json()["data"].take()
    }

    /// The messages of a refusal with that status, as text.
    #[track_caller]
    pub fn refusal(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text);
        self.json()["errors"].take().to_string()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.text))
    }
}

impl Wire {
    pub fn of(server: &Server) -> Self {
        // The provider is process-wide; a second install is refused, which is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent("GigalixirCLI/1.16.1")
            .timeout(Duration::from_secs(60))
            .build()
            .expect("client");
        let mut wire = Self { url: server.url(), runtime, client, document: Value::Null, seen: RefCell::default() };
        let answer = wire.send("GET", "/api/openapi.json", None, &[], "");
        wire.document = answer.json();
        wire
    }

    /// A request with a JSON body (or none, for `null`), as today's client sends it.
    #[track_caller]
    pub fn ask(&self, who: Basic, method: &str, path: &str, body: Value) -> Reply {
        self.ask_as("GigalixirCLI/1.16.1", who, method, path, body)
    }

    /// The same by a program of that name.
    #[track_caller]
    pub fn ask_as(&self, agent: &str, who: Basic, method: &str, path: &str, body: Value) -> Reply {
        self.ask_with(("user-agent", agent), who, method, path, body)
    }

    /// The same, as a proxy that serves that address passes it on.
    #[track_caller]
    pub fn ask_from(&self, address: &str, who: Basic, method: &str, path: &str, body: Value) -> Reply {
        self.ask_with(("x-forwarded-for", address), who, method, path, body)
    }

    #[track_caller]
    fn ask_with(&self, header: (&str, &str), who: Basic, method: &str, path: &str, body: Value) -> Reply {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let reply = self.send(method, path, who, &[("content-type", "application/json"), header], &text);
        self.check(method, path, &reply);
        reply
    }

    /// Reads an answer that does not end by itself until it says `wanted`, which `act` brings about once the answer has
    /// begun; what it said until then.
    #[track_caller]
    pub fn listen(&self, agent: &str, who: Basic, path: &str, wanted: &str, act: impl FnOnce()) -> String {
        let mut request = self.client.get(format!("{}{path}", self.url)).header("user-agent", agent);
        request = request.header("authorization", authorization(who));
        let sending = async { request.send().await };
        let mut answer = self.runtime.block_on(sending).unwrap_or_else(|error| panic!("{path}: {error:#}"));
        assert_eq!(answer.status(), 200, "{path}");
        act();
        let mut said = String::new();
        while !said.contains(wanted) {
            let piece = self.runtime.block_on(async { answer.chunk().await }).expect("it goes on");
            let piece = piece.unwrap_or_else(|| panic!("{path} ended before `{wanted}`: {said}"));
            said.push_str(&String::from_utf8_lossy(&piece));
        }
        said
    }

    /// Signs up, and returns the key.
    pub fn sign_up(&self, server: &Server, email: &str) -> String {
        self.sign_up_with(server, email, PASSWORD)
    }

    /// Signs up with that password, and returns the key.
    pub fn sign_up_with(&self, server: &Server, email: &str, password: &str) -> String {
        let step = |body: Value| self.ask(None, "POST", "/api/signup", body).data(200);
        let uuid = step(json!({ "email": email }))["uuid"].clone();
        let code = secret_mailed(server, email, "Code:");
        step(json!({ "uuid": uuid, "confirmation_code": code }));
        step(json!({ "uuid": uuid, "password": password }));
        step(json!({ "uuid": uuid, "tier": "FREE" }))["key"].as_str().expect("a key").to_owned()
    }

    /// Method and path of every operation that is described.
    pub fn operations(&self) -> BTreeSet<(String, String)> {
        let paths = self.document["paths"].as_object().expect("paths");
        let of = |path: &String, item: &Value| {
            let methods: Vec<String> = item.as_object().expect("an item").keys().map(|m| m.to_uppercase()).collect();
            methods.into_iter().map(|method| (method, path.clone())).collect::<Vec<_>>()
        };
        paths.iter().flat_map(|(path, item)| of(path, item)).collect()
    }

    /// Those of which a success was seen.
    pub fn succeeded(&self) -> BTreeSet<(String, String)> {
        self.seen.borrow().clone()
    }

    fn send(&self, method: &str, path: &str, who: Basic, headers: &[(&str, &str)], body: &str) -> Reply {
        self.runtime.block_on(async {
            let method = reqwest::Method::from_bytes(method.as_bytes()).expect("method");
            let mut request = self.client.request(method, format!("{}{path}", self.url)).body(body.to_owned());
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            if who.is_some() {
                request = request.header("authorization", authorization(who));
            }
            let answer = request.send().await.unwrap_or_else(|error| panic!("{path}: {error:#}"));
            let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
            let text = String::from_utf8_lossy(&answer.bytes().await.expect("the whole body")).into_owned();
            Reply { status, headers, text }
        })
    }

    /// The status, the type and the shape are those that the description promises.
    #[track_caller]
    fn check(&self, method: &str, path: &str, reply: &Reply) {
        let template = self.template(path);
        let seen = format!("{method} {path}: {} {}", reply.status, reply.text);
        let operation = &self.document["paths"][&template][method.to_lowercase()];
        assert!(operation.is_object(), "{seen}\nis not described");
        let response = &operation["responses"][reply.status.to_string()];
        assert!(response.is_object(), "{seen}\nhas a status that is not described");
        let kind = reply.headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let content = &response["content"][kind.split(';').next().unwrap_or_default()];
        assert!(content.is_object(), "{seen}\nhas a type that is not described: `{kind}`");
        if kind == "application/json" {
            let schema =
                json!({ "$ref": "#/wanted", "wanted": content["schema"], "components": self.document["components"] });
            let validator = jsonschema::validator_for(&schema).expect("a schema");
            let body = reply.json();
            let wrong: Vec<_> = validator.iter_errors(&body).map(|error| error.to_string()).collect();
            assert!(wrong.is_empty(), "{seen}\nis not as described: {}", wrong.join("; "));
        }
        if reply.status < 300 {
            self.seen.borrow_mut().insert((method.to_owned(), template));
        }
    }

    /// The described path that an address belongs to; one with fewer segments in braces goes first.
    #[track_caller]
    fn template(&self, address: &str) -> String {
        let wanted: Vec<&str> = address.split('?').next().unwrap_or_default().split('/').collect();
        let fits = |path: &&String| {
            let parts: Vec<&str> = path.split('/').collect();
            parts.len() == wanted.len()
                && parts.iter().zip(&wanted).all(|(part, word)| part.starts_with('{') || part == word)
        };
        let paths = self.document["paths"].as_object().expect("paths").keys();
        let found = paths.filter(fits).min_by_key(|path| path.matches('{').count());
        found.unwrap_or_else(|| panic!("{address} is not described")).clone()
    }
}

fn authorization(who: Basic) -> String {
    let (email, secret) = who.unwrap_or_default();
    format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(format!("{email}:{secret}")))
}

/// The code or token in the newest mail to that address that says `words`; waits for it.
#[track_caller]
pub fn secret_mailed(server: &Server, email: &str, words: &str) -> String {
    let mut found = None;
    wait_until("a mail", Duration::from_secs(60), || {
        let mails = std::fs::read_dir(server.data().join("outbox")).into_iter().flatten().flatten();
        let mut paths: Vec<_> =
            mails.map(|mail| mail.path()).filter(|p| p.extension() == Some("eml".as_ref())).collect();
        paths.sort();
        let texts = paths.iter().rev().filter_map(|path| std::fs::read_to_string(path).ok());
        let mut wanted = texts.filter(|text| text.contains(&format!("To: {email}")) && text.contains(words));
        let secret =
            |line: &str| line.trim().strip_prefix("Code:").or(line.trim().strip_prefix("Token:")).map(str::to_owned);
        found = wanted.next().and_then(|text| text.lines().find_map(secret));
        found.is_some()
    });
    found.expect("found").trim().to_owned()
}
