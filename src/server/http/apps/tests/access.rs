//! Who may do what: every route of the door for everybody.

use super::*;
use crate::server::domain::Role;

/// Whom a route answers.
#[derive(Debug, Clone, Copy)]
enum For {
    /// Whoever asks; credentials are not looked at.
    Everybody,
    /// Whoever gives a password.
    Password,
    /// Whoever has an account.
    SignedIn,
    /// Whoever has this role in the app, or a higher one.
    Role(Role),
    /// The app's own replicas.
    Replica,
    /// The app's own replicas, and whoever has this role in it, or a higher one.
    ReplicaOr(Role),
    /// An ingress in front, which is no person and no replica.
    Ingress,
}

/// Who asks. Another principal is a line here, in [`Asker::credentials`] and in [`due`].
#[derive(Debug, Clone, Copy, PartialEq)]
enum Asker {
    Nobody,
    ExpiredKey,
    Another,
    /// Of the app.
    Replica,
    Viewer,
    Collaborator,
    Owner,
}

/// What has to come of it.
#[derive(Debug, PartialEq)]
enum Due {
    Passes,
    Unauthorized,
    /// As if there were no such app.
    Absent,
    Forbidden,
}

impl Asker {
    /// In the order in which they ask: the owner's last request is the app's end.
    const ALL: [Self; 7] =
        [Self::Nobody, Self::ExpiredKey, Self::Another, Self::Replica, Self::Viewer, Self::Collaborator, Self::Owner];

    fn email(self) -> &'static str {
        match self {
            Self::Nobody | Self::Another => CAT,
            // Its user name is the app's.
            Self::Replica => "hill",
            Self::Viewer => DAN,
            Self::Collaborator => BEN,
            Self::Owner | Self::ExpiredKey => ANN,
        }
    }

    fn credentials(self, platform: &Platform) -> Option<String> {
        match self {
            Self::Nobody => None,
            Self::ExpiredKey => Some(format!("{}:{EXPIRED}", self.email())),
            _ => Some(format!("{}:{}", self.email(), platform.keys[self.email()])),
        }
    }
}

/// The whole rule.
fn due(route: For, asker: Asker) -> Due {
    let role = match asker {
        Asker::Owner => Some(Role::Owner),
        Asker::Collaborator => Some(Role::Collaborator),
        Asker::Viewer => Some(Role::Viewer),
        Asker::Another | Asker::Replica | Asker::Nobody | Asker::ExpiredKey => None,
    };
    let known = !matches!(asker, Asker::Replica | Asker::Nobody | Asker::ExpiredKey);
    match route {
        For::Everybody => Due::Passes,
        // Nobody here has a password.
        For::Password | For::Ingress => Due::Unauthorized,
        For::Replica | For::ReplicaOr(_) if asker == Asker::Replica => Due::Passes,
        For::Replica => Due::Unauthorized,
        For::ReplicaOr(least) => due(For::Role(least), asker),
        For::SignedIn | For::Role(_) if !known => Due::Unauthorized,
        For::SignedIn => Due::Passes,
        For::Role(least) => match role {
            None => Due::Absent,
            Some(role) if role < least => Due::Forbidden,
            Some(_) => Due::Passes,
        },
    }
}

const EXPIRED: &str = "0b5f9d2e-9c4e-4c33-8f4e-2f4bd5a0a5b1";

/// Every route: method, path, a body that is right (or that the right person is refused for itself), and whom it is
/// for. Those of an app are in an order in which each can be tried after the one before.
fn table() -> Vec<(&'static str, &'static str, Value, For)> {
    let below = databases().into_iter().chain(below_an_app()).map(|(method, path, body, least)| {
        let whom = if path.ends_with("/migrate-command") { For::ReplicaOr(least) } else { For::Role(least) };
        (method, path, body, whom)
    });
    let elsewhere = elsewhere().into_iter().map(|(method, path, whom)| match whom {
        For::Password => (method, path, json!({"new_password": "a long enough one"}), whom),
        _ => (method, path, json!(null), whom),
    });
    elsewhere.chain(below).collect()
}

/// Those that are no app's. Without a body each does nothing, or no harm.
fn elsewhere() -> Vec<(&'static str, &'static str, For)> {
    use For::{Everybody, Ingress, Password, Replica, SignedIn};
    vec![
        ("GET", "/healthz", Everybody),
        ("GET", "/api/openapi.json", Everybody),
        ("GET", "/ca.pem", Everybody),
        ("GET", "/metrics", SignedIn),
        ("GET", "/slugs/{file}", Everybody),
        ("GET", "/builds/{build}/folders", Everybody),
        ("PUT", "/builds/{build}/folders", Everybody),
        ("POST", "/api/signup", Everybody),
        ("POST", "/api/users", Everybody),
        ("POST", "/api/free_users", Everybody),
        ("GET", "/api/users/confirm/{id}/{code}", Everybody),
        ("POST", "/api/users/confirm/{id}/{code}", Everybody),
        ("POST", "/api/oauth/google", Everybody),
        ("GET", "/api/oauth/google/{session}", Everybody),
        ("GET", "/api/default_backend/domain", Ingress),
        ("GET", "/api/validate_email", Everybody),
        ("POST", "/api/users/email/confirm", Everybody),
        ("POST", "/api/users/email/revoke", Everybody),
        ("PUT", "/api/users/reset_password", Everybody),
        ("POST", "/api/users/reset_password", Everybody),
        ("PUT", "/api/users/reconfirm_email", Everybody),
        ("GET", "/api/login", Password),
        ("PATCH", "/api/users", Password),
        ("POST", "/api/api_keys", Password),
        ("GET", "/api/users", SignedIn),
        ("DELETE", "/api/users/destroy", SignedIn),
        ("POST", "/api/users/email", SignedIn),
        ("PATCH", "/api/users/change_password", SignedIn),
        ("POST", "/api/api_keys/regenerate", SignedIn),
        ("GET", "/api/ssh_keys", SignedIn),
        ("POST", "/api/ssh_keys", SignedIn),
        ("DELETE", "/api/ssh_keys", SignedIn),
        ("DELETE", "/api/ssh_keys/{id}", SignedIn),
        ("DELETE", "/api/mfa", SignedIn),
        ("POST", "/api/mfa/start", SignedIn),
        ("POST", "/api/mfa/verify", SignedIn),
        ("POST", "/api/mfa/recovery_codes", SignedIn),
        ("GET", "/api/payment_methods", SignedIn),
        ("PUT", "/api/payment_methods", SignedIn),
        ("POST", "/api/upgrade", SignedIn),
        ("GET", "/api/apps", SignedIn),
        ("POST", "/api/apps", SignedIn),
        ("GET", "/api/stacks", SignedIn),
        ("GET", "/api/nodes", SignedIn),
        ("GET", "/api/usage", SignedIn),
        ("GET", "/api/usage/run_rate", SignedIn),
        ("GET", "/api/invoices", SignedIn),
        ("GET", "/api/apps/{app}/host_indexes/{host}/assign", Replica),
        ("GET", "/api/apps/{app}/releases/current", Replica),
        ("GET", "/api/apps/{app}/ssh_keys", Replica),
        ("POST", "/api/apps/{app}/flame", Replica),
    ]
}

/// A certificate for a host, as it is uploaded.
fn certificate(host: &str) -> Value {
    let made = rcgen::generate_simple_self_signed(vec![host.to_owned()]).unwrap();
    json!({"fqdn": host, "certificate": made.cert.pem(), "key": made.signing_key.serialize_pem()})
}

/// What is never had, and said to whoever may see the app.
fn databases() -> Vec<(&'static str, &'static str, Value, Role)> {
    let all = vec![
        ("GET", "/api/apps/{app}/databases", json!(null)),
        ("POST", "/api/apps/{app}/databases", json!({"size": 0.6})),
        ("POST", "/api/apps/{app}/free_databases", json!({})),
        ("PUT", "/api/apps/{app}/databases/{id}", json!({"size": null})),
        ("DELETE", "/api/apps/{app}/databases/{id}", json!(null)),
        ("GET", "/api/apps/{app}/databases/{id}/read_replicas", json!(null)),
        ("POST", "/api/apps/{app}/databases/{id}/read_replicas", json!({"size": 0.6})),
        ("GET", "/api/apps/{app}/databases/{id}/backups", json!(null)),
        ("POST", "/api/apps/{app}/databases/{id}/backups/{backup}/restore", json!(null)),
        ("POST", "/api/apps/{app}/databases/{id}/upgrade", json!({"version": "POSTGRES_16"})),
        ("PUT", "/api/apps/{app}/databases/{id}/restart", json!(null)),
        ("PUT", "/api/apps/{app}/databases/{id}/stop", json!(null)),
        ("PUT", "/api/apps/{app}/databases/{id}/start", json!(null)),
    ];
    all.into_iter().map(|(method, path, body)| (method, path, body, Role::Viewer)).collect()
}

fn below_an_app() -> Vec<(&'static str, &'static str, Value, Role)> {
    use Role::{Collaborator, Owner, Viewer};
    vec![
        ("GET", "/api/apps/{app}", json!(null), Viewer),
        ("GET", "/api/apps/{app}/status", json!(null), Viewer),
        ("GET", "/api/apps/{app}/stats", json!(null), Viewer),
        ("GET", "/api/apps/{app}/releases", json!(null), Viewer),
        ("GET", "/api/apps/{app}/releases/{which}", json!(null), Viewer),
        ("GET", "/api/apps/{app}/releases/{which}/upgrade-plan/{to}", json!(null), Viewer),
        ("GET", "/api/apps/{app}/logs", json!(null), Viewer),
        ("GET", "/api/apps/{app}/domains", json!(null), Viewer),
        ("GET", "/api/apps/{app}/permissions", json!(null), Viewer),
        ("GET", "/api/apps/{app}/activity", json!(null), Viewer),
        ("GET", "/api/apps/{app}/usage", json!(null), Viewer),
        ("GET", "/api/apps/{app}/configs", json!(null), Collaborator),
        ("POST", "/api/apps/{app}/configs", json!({"configs": {"A": "1"}}), Collaborator),
        ("DELETE", "/api/apps/{app}/configs", json!({"key": "A"}), Collaborator),
        ("POST", "/api/apps/{app}/configs/copy", json!({"from": "hill"}), Collaborator),
        ("POST", "/api/apps/{app}/releases/{which}/rollback", json!(null), Collaborator),
        ("PUT", "/api/apps/{app}/scale", json!({"replicas": 1}), Collaborator),
        ("PUT", "/api/apps/{app}/restart", json!(null), Collaborator),
        ("POST", "/api/apps/{app}/cookie", json!(null), Collaborator),
        ("GET", "/api/apps/{app}/observer", json!(null), Collaborator),
        ("GET", "/api/apps/{app}/observer/node", json!(null), Collaborator),
        ("DELETE", "/api/apps/{app}/pods/{pod}", json!(null), Collaborator),
        ("POST", "/api/apps/{app}/run", json!({"command": ["done"]}), Collaborator),
        ("PUT", "/api/apps/{app}/run", json!({"command": ["hang"]}), Collaborator),
        ("GET", "/api/apps/{app}/jobs", json!(null), Viewer),
        ("GET", "/api/apps/{app}/jobs/{job}", json!(null), Viewer),
        ("GET", "/api/apps/{app}/jobs/{job}/logs", json!(null), Viewer),
        ("DELETE", "/api/apps/{app}/jobs/{job}", json!(null), Collaborator),
        ("GET", "/api/apps/{app}/schedules", json!(null), Viewer),
        (
            "POST",
            "/api/apps/{app}/schedules",
            json!({"schedule": "0 3 * * *", "command": ["done"], "name": "x"}),
            Collaborator,
        ),
        ("DELETE", "/api/apps/{app}/schedules/{schedule}", json!(null), Collaborator),
        ("PUT", "/api/apps/{app}/stack", json!({"stack": "debian-12"}), Collaborator),
        ("GET", "/api/apps/{app}/exec", json!(null), Collaborator),
        ("GET", "/api/apps/{app}/tunnel", json!(null), Collaborator),
        ("GET", "/api/apps/{app}/run", json!(null), Collaborator),
        ("GET", "/api/apps/{app}/releases/migrate-command", json!(null), Collaborator),
        ("GET", "/api/apps/{app}/observer-commands", json!(null), Collaborator),
        ("GET", "/api/apps/{app}/ssh_ip", json!(null), Collaborator),
        ("POST", "/api/apps/{app}/domains", json!({"fqdn": "hill.test"}), Collaborator),
        ("DELETE", "/api/apps/{app}/domains", json!({"fqdn": "hill.test"}), Collaborator),
        ("GET", "/api/apps/{app}/certs", json!(null), Viewer),
        ("POST", "/api/apps/{app}/certs", certificate("hill.example.com"), Collaborator),
        ("DELETE", "/api/apps/{app}/certs", json!({"fqdn": "hill.example.com"}), Collaborator),
        ("POST", "/api/apps/{app}/certs/renew", json!({"fqdn": "hill.example.com"}), Collaborator),
        ("GET", "/api/apps/{app}/canaries", json!(null), Viewer),
        ("PUT", "/api/apps/{app}/canaries", json!({"canary": "dell", "weight": 5}), Collaborator),
        ("DELETE", "/api/apps/{app}/canaries/{canary}", json!(null), Collaborator),
        ("GET", "/api/apps/{app}/drains", json!(null), Viewer),
        ("POST", "/api/apps/{app}/drains", json!({"url": "syslog://127.0.0.1:9"}), Collaborator),
        ("DELETE", "/api/apps/{app}/drains", json!({"drain_id": "1"}), Collaborator),
        ("PUT", "/api/apps/{app}/maintenance", json!({"enable": true}), Collaborator),
        ("GET", "/api/apps/{app}/maintenance/page", json!(null), Viewer),
        ("PUT", "/api/apps/{app}/maintenance/page", json!({"html": "<h1>Soon</h1>"}), Collaborator),
        ("GET", "/api/apps/{app}/router", json!(null), Viewer),
        ("PATCH", "/api/apps/{app}/router", json!({"affinity": true}), Collaborator),
        ("POST", "/api/apps/{app}/permissions", json!({"email": CAT, "role": "VIEWER"}), Owner),
        ("DELETE", "/api/apps/{app}/permissions", json!({"email": CAT}), Owner),
        ("PATCH", "/api/apps/{app}", json!({"unique_name": "vale"}), Owner),
        ("PUT", "/api/apps/{app}", json!({"unique_name": "vale"}), Owner),
        ("DELETE", "/api/apps/{app}", json!(null), Owner),
    ]
}

#[test]
fn every_route_has_a_row() {
    let mut rows: Vec<_> = table().iter().map(|row| (row.0.to_owned(), row.1)).collect();
    let mut listed: Vec<_> = routes().rows().iter().map(|row| (row.method.to_string(), row.path)).collect();
    rows.sort();
    listed.sort();
    assert_eq!(rows, listed, "the permission table (left) and the door's list of routes (right)");
}

#[tokio::test]
async fn what_is_described_as_public_is_what_everybody_may() {
    let platform = Platform::new().await;
    let document = platform.ask(ANN, "GET", "/api/openapi.json", json!(null)).await.1;
    for (method, path, _, whom) in table() {
        let schemes = match whom {
            For::Everybody => json!([]),
            For::Password => json!([{"password": []}]),
            For::SignedIn | For::Role(_) => json!([{"apiKey": []}]),
            For::Replica => json!([{"appKey": []}]),
            For::ReplicaOr(_) => json!([{"apiKey": []}, {"appKey": []}]),
            For::Ingress => json!([{"ingressKey": []}]),
        };
        assert_eq!(document["paths"][path][method.to_lowercase()]["security"], schemes, "{method} {path}");
    }
}

#[tokio::test]
async fn everybody_may_what_their_role_may_and_no_more() {
    let mut platform = Platform::new().await;
    platform.ann("POST", "/api/apps", json!({"unique_name": "hill"})).await;
    platform.push("hill", "web: serve", "1").await;
    platform.ann("POST", "/api/apps/hill/run", json!({"command": ["done"]})).await;
    platform.ann("POST", "/api/apps", json!({"unique_name": "dell"})).await;
    for app in ["hill", "dell"] {
        platform.ann("POST", &format!("/api/apps/{app}/permissions"), json!({"email": BEN})).await;
    }
    expired_key(&platform).await;
    let hill = platform.store.app_by_name(&AppName::parse("hill").unwrap()).await.unwrap();
    platform.keys.insert("hill", platform.releases.secrets(hill.id).await.unwrap().app_key);
    for asker in Asker::ALL {
        // Cat's role is given and taken by the owner's rows, so the viewer is Dan; two people may have one.
        if asker == Asker::Viewer {
            platform.ann("POST", "/api/apps/hill/permissions", json!({"email": DAN, "role": "VIEWER"})).await;
        }
        if asker == Asker::Owner {
            platform.ann("DELETE", "/api/apps/hill/permissions", json!({"email": DAN})).await;
        }
        for row in table() {
            check(&platform, asker, row).await;
        }
    }
    assert_eq!(platform.refused("GET", "/api/apps/hill", json!(null)).await.0, 404, "the owner's last row was its end");
}

async fn check(platform: &Platform, asker: Asker, (method, path, body, whom): (&str, &str, Value, For)) {
    let path = match path.contains("{pod}") {
        true => path.replace("{pod}", &healthy_pod(platform).await),
        false => path.to_owned(),
    };
    let path = match path.contains("{job}") {
        true => path.replace("{job}", &newest_job(platform).await),
        false => path,
    };
    let path = path
        .replace("{schedule}", "x")
        .replace("{which}", "1")
        .replace("{to}", "1")
        .replace("{canary}", "dell")
        .replace(['{', '}'], "");
    let path = path.replace("/logs", "/logs?follow=False").replace("/tunnel", "/tunnel?port=4000");
    let body = match body.get("drain_id") {
        Some(_) => json!({"drain_id": newest_drain(platform).await}),
        None => body,
    };
    let (status, text) = ask(platform, asker, method, &path.replacen("/apps/app", "/apps/hill", 1), &body).await;
    let seen = format!("{asker:?} {method} {path}: {status} {text}");
    match due(whom, asker) {
        // Refused for what is asked, not for who asks. Two have a lock of their own: the signature.
        Due::Passes => {
            let signed = path.starts_with("/slugs") || path.starts_with("/builds");
            assert!(!matches!(status, 401 | 405) && (status != 403 || signed), "{seen}");
        }
        Due::Unauthorized => assert_eq!(status, 401, "{seen}"),
        Due::Absent => {
            let (_, absent) = ask(platform, asker, method, &path.replacen("/apps/app", "/apps/dale", 1), &body).await;
            assert_eq!((status, &text), (404, &absent.replace("`dale`", "`hill`")), "{seen}");
        }
        Due::Forbidden => assert!(status == 403 && text.contains("your role in `hill` is "), "{seen}"),
    }
    // What an app's people may do is done; but a name cannot be changed and a database not had, whoever asks, a
    // WebSocket is asked for otherwise, and what runs here is no Erlang node.
    if let (For::Role(_), Due::Passes) = (whom, due(whom, asker)) {
        let never = ["cannot be changed", "offers no databases", "speaks WebSocket only", "no such replica is ready"];
        assert!(status < 300 || never.iter().any(|words| text.contains(words)), "{seen}");
    }
}

async fn ask(platform: &Platform, asker: Asker, method: &str, path: &str, body: &Value) -> (u16, String) {
    let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(path);
    if let Some(credentials) = asker.credentials(platform) {
        let basic = base64::prelude::BASE64_STANDARD.encode(credentials);
        request = request.header(header::AUTHORIZATION, format!("Basic {basic}"));
    }
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let response = platform.answer(request.body(body).unwrap()).await;
    let status = response.status().as_u16();
    let text = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&text).into_owned())
}

/// A key of Ann's that was good until a second ago.
async fn expired_key(platform: &Platform) {
    let ann = platform.store.user_by_email(&crate::server::domain::Email::parse(ANN).unwrap()).await.unwrap().unwrap();
    let expires_at = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(1);
    let key = crate::server::store::NewKey { hash: Sha256::digest(EXPIRED).into(), expires_at };
    platform.store.add_key(ann.0.id, key, 50).await.unwrap();
}

async fn newest_drain(platform: &Platform) -> String {
    let drains = platform.ann("GET", "/api/apps/hill/drains", json!(null)).await;
    let newest = drains.as_array().unwrap().last().map(|drain| drain["id"].as_str().unwrap().to_owned());
    newest.unwrap_or_else(|| "0".to_owned())
}

async fn newest_job(platform: &Platform) -> String {
    platform.ann("GET", "/api/apps/hill/jobs", json!(null)).await[0]["id"].to_string()
}

/// One that a request before this one is not about to end.
async fn healthy_pod(platform: &Platform) -> String {
    for _ in 0..1000 {
        let status = platform.ann("GET", "/api/apps/hill/status", json!(null)).await;
        // A replica may have asked for a runner before.
        let pods: Vec<_> = status["pods"].as_array().unwrap().iter().filter(|pod| pod["process"] == "web").collect();
        if let [pod] = pods.as_slice()
            && pod["status"] == "Healthy"
        {
            return pod["name"].as_str().unwrap().to_owned();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the replica did not become healthy");
}

#[tokio::test]
async fn roles_are_given_changed_listed_and_taken() {
    let platform = Platform::new().await;
    let path = "/api/apps/hill/permissions";
    platform.ann("POST", "/api/apps", json!({"unique_name": "hill"})).await;
    let (status, _) = platform.ask(ANN, "POST", path, json!({"email": "BEN@example.com"})).await;
    assert_eq!(status, 201);
    platform.ann("POST", path, json!({"email": CAT, "role": "VIEWER"})).await;
    let people = json!({"owner": ANN, "collaborators": [BEN], "viewers": [CAT]});
    assert_eq!(platform.ann("GET", path, json!(null)).await, people);
    assert_eq!(platform.ask(CAT, "GET", "/api/apps", json!(null)).await.1["data"][0]["unique_name"], "hill");

    for (body, reason) in [
        (json!({"email": DAN}), "2 people"),
        (json!({"email": "nobody@example.com"}), "sign up first"),
        (json!({"email": ANN}), "the owner's"),
        (json!({"email": "x"}), "invalid format"),
        (json!({"email": BEN, "role": "OWNER"}), "COLLABORATOR or VIEWER"),
    ] {
        let (status, text) = platform.refused("POST", path, body).await;
        assert!(status == 422 && text.contains(reason), "{status} {text}");
    }
    assert_eq!(platform.ann("GET", path, json!(null)).await, people, "no refusal did anything");

    platform.ann("POST", path, json!({"email": BEN, "role": "VIEWER"})).await;
    let scale = platform.ask(BEN, "PUT", "/api/apps/hill/scale", json!({"replicas": 2})).await;
    assert_eq!(scale.0, 403, "the new role holds at once");
    assert_eq!(platform.ask(BEN, "DELETE", path, json!({"email": CAT})).await.0, 403);
    assert_eq!(platform.ask(BEN, "DELETE", path, json!({"email": BEN})).await.0, 200, "one's own can be given up");
    assert_eq!(platform.ask(BEN, "GET", "/api/apps/hill", json!(null)).await.0, 404);
    assert_eq!(platform.ask(BEN, "GET", "/api/apps", json!(null)).await.1["data"], json!([]));
    assert_eq!(platform.refused("DELETE", path, json!({"email": BEN})).await.0, 404);
    assert_eq!(platform.refused("DELETE", path, json!({"email": ANN})).await.0, 404, "an owner stays");
}

#[tokio::test]
async fn a_replicas_key_is_good_for_its_own_app_alone() {
    let platform = Platform::new().await;
    for app in ["hill", "dell"] {
        platform.ann("POST", "/api/apps", json!({"unique_name": app})).await;
        platform.push(app, "web: serve", "1").await;
    }
    let key = async |app: &str| {
        let app = platform.store.app_by_name(&AppName::parse(app).unwrap()).await.unwrap();
        platform.releases.secrets(app.id).await.unwrap().app_key
    };
    let (own, other) = (key("hill").await, key("dell").await);
    let host = platform.deployer.status(&AppName::parse("hill").unwrap())[0].name.clone();
    for (method, path, ..) in table().into_iter().filter(|row| matches!(row.3, For::Replica)) {
        let path = path.replace("{app}", "hill").replace("{host}", &host);
        let (status, answer) = platform.ask_with("hill", &own, method, &path).await;
        assert!(matches!(status, 200 | 201), "{method} {path}: {status} {answer}");
        for (name, key) in [("hill", &other), ("dell", &other), ("dell", &own), ("hill", &String::new()), ("", &own)] {
            assert_eq!(platform.ask_with(name, key, method, &path).await.0, 401, "{name} {method} {path}");
        }
        let nowhere = path.replace("hill", "dale");
        assert_eq!(platform.ask_with("dale", &own, method, &nowhere).await.0, 401, "{nowhere}");
    }
}
