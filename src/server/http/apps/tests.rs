//! The app routes over the real store, deployer, logs and slugs; only the runtime is in memory.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{Method, Request, Response, header};
use base64::Engine;
use futures_util::StreamExt;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tower::ServiceExt;
use url::Url;

use crate::server::actions::account::AccountRules;
use crate::server::actions::apps::{AppSettings, Billing, Repositories, Rooms};
use crate::server::clock::Clock;
use crate::server::config::{Rates, Signups, SshAddress, TlsConfig};
use crate::server::deployer::{self, AppLog, Deploy, Deployer, Drains as Draining};
use crate::server::domain::{
    AppName, Backend, Hostname, LogLine, LogSource, Price, ProcessType, Slug, SlugDigest, SlugKind, Stack,
};
use crate::server::drains::{self, Drains};
use crate::server::gauges::Gauges;
use crate::server::http::*;
use crate::server::joints::AppNodes;
use crate::server::logs::{LogLimits, Logs};
use crate::server::mail::Mailer;
use crate::server::nodes::Nodes;
use crate::server::progress::Progress;
use crate::server::releases::{Keep, Releases, Seals};
use crate::server::runtime::memory::Memory;
use crate::server::seal::Sealer;
use crate::server::slugs::SlugsConfig;
use crate::server::stacks::Offered;
use crate::server::store::testing;
use crate::server::tls::Tls;

mod access;
mod document;
mod fronts;
mod used;

const ANN: &str = "ann@example.com";
const BEN: &str = "ben@example.com";
const CAT: &str = "cat@example.com";
const DAN: &str = "dan@example.com";

struct Platform {
    router: Router,
    store: Store,
    releases: Releases,
    runtime: Arc<Memory>,
    deployer: Deployer,
    logs: Logs,
    slugs: Arc<Slugs>,
    parcels: Arc<Parcels>,
    apps: Arc<Apps>,
    shutdown: CancellationToken,
    clock: Clock,
    repositories: PathBuf,
    keys: std::collections::HashMap<&'static str, String>,
    _folder: tempfile::TempDir,
}

fn settings(domain: Hostname) -> AppSettings {
    let stack = |name| Stack::parse(name).unwrap();
    AppSettings {
        per_account: 3,
        domains_per_app: 3,
        people_per_app: 2,
        drains_per_app: 2,
        sessions_per_account: 2,
        schedules_per_app: 2,
        cloud: "local",
        stacks: (stack("debian-12"), vec![stack("debian-12"), stack("debian-13")]),
        domain,
        app_url: Url::parse("http://example.com:8080").unwrap(),
        git_url: Url::parse("http://git.example.com:4000").unwrap(),
        ssh: SshAddress { host: "ssh.platform.test".into(), port: 2222 },
        billing: Billing { price: Price::parse(1.0).unwrap(), currency: "EUR".to_owned() },
        api_url: Url::parse("http://api.platform.test:4000").unwrap(),
        slug_url_life: Duration::from_secs(60),
        default_backend_key: Some("ingress".to_owned().into()),
        metrics_key: Some("collector".to_owned().into()),
    }
}

impl Platform {
    #[expect(clippy::too_many_lines, reason = "every room of a platform is made here")]
    async fn new() -> Self {
        let (store, folder) = testing::open().await;
        let domain = Hostname::parse("example.com").unwrap();
        let logs = Logs::open(&folder.path().join("logs"), LogLimits::default()).unwrap();
        let seals = Sealed(Sealer::open(&folder.path().join("key")).unwrap());
        let releases = Releases::new(store.clone(), Arc::new(seals), Keep::default());
        let runtime = Arc::new(Memory::new());
        let jobs = crate::server::jobs::testing::jobs(&store, &releases, runtime.clone(), folder.path()).await;
        let plans = crate::server::hot::testing::plans(&store, folder.path());
        let rooms = deployer::Rooms {
            store: store.clone(),
            releases: releases.clone(),
            runtime: runtime.clone(),
            drains: Arc::new(NobodyVisits),
            log: Arc::new(AppLogs(logs.clone())),
            jobs: jobs.clone(),
            plans: plans.clone(),
        };
        let deployer = Deployer::new(rooms, deployer::Settings::new(domain.clone()));
        deployer.recover().await.unwrap();
        deployer.start().await.unwrap();
        let repositories = folder.path().join("repositories");
        std::fs::create_dir(&repositories).unwrap();
        let slugs = Arc::new(Slugs::open(&SlugsConfig::on_disk(folder.path().join("slugs")), &[7; 32]).unwrap());
        let parcels = Parcels::open(folder.path().join("parcels"), &[8; 32]).unwrap();
        let clock = Clock::system();
        let sealer = Arc::new(Sealer::open(&folder.path().join("account.key")).unwrap());
        let drains = drains::Settings { per_app: 2, private: true, pace: Default::default() };
        let tls = Tls::open(TlsConfig::default(), domain.clone(), store.clone(), sealer.clone()).await.unwrap();
        let rooms = Rooms {
            tls: tls.clone(),
            store: store.clone(),
            releases: releases.clone(),
            deployer: deployer.clone(),
            nodes: Nodes::new(Arc::new(AppNodes {
                store: store.clone(),
                deployer: deployer.clone(),
                runtime: runtime.clone(),
                logs: logs.clone(),
            })),
            jobs,
            plans,
            gauges: Gauges::new(runtime.clone(), Clock::system()),
            logs: logs.clone(),
            drains: Drains::start(store.clone(), sealer.clone(), logs.clone(), drains).await.unwrap(),
            repositories: Arc::new(Folders(repositories.clone())),
            slugs: slugs.clone(),
            images: Arc::new(Offered::machine(Stack::parse("debian-12").unwrap())),
            clock: clock.clone(),
        };
        let settings = settings(domain.clone());
        let mailer = Mailer::new(&Default::default(), &domain, folder.path().join("outbox")).unwrap();
        let rules = AccountRules {
            signups: Signups::First,
            rates: Rates::default(),
            ssh_keys: 50,
            billing: false,
            domain,
            api_url: String::new(),
        };
        let accounts = Arc::new(Accounts::new(store.clone(), mailer, sealer, rules, clock.clone()).unwrap());
        let mut keys = std::collections::HashMap::new();
        for email in [ANN, BEN, CAT, DAN] {
            let user = testing::user(&store, email).await;
            keys.insert(email, accounts.mint_key(user).await.unwrap().text);
        }
        let apps = Arc::new(Apps::new(rooms, settings));
        let shutdown = CancellationToken::new();
        let router = api(Doors {
            tls,
            accounts,
            apps: apps.clone(),
            slugs: slugs.clone(),
            parcels: parcels.clone(),
            shutdown: shutdown.clone(),
            store: store.clone(),
            trusted_proxies: TrustedProxies::default(),
            traffic: crate::server::router::Router::new(Default::default(), deployer.routes()).traffic(),
            body_limit: 1_000_000,
        });
        Self {
            router,
            store,
            releases,
            runtime,
            deployer,
            logs,
            slugs,
            parcels,
            apps,
            shutdown,
            clock,
            repositories,
            keys,
            _folder: folder,
        }
    }

    async fn send(&self, who: &str, method: &str, path: &str, body: Value) -> Response<Body> {
        let basic = base64::prelude::BASE64_STANDARD.encode(format!("{who}:{}", self.keys[who]));
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(path)
            .header(header::AUTHORIZATION, format!("Basic {basic}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(body)
            .unwrap();
        self.answer(request).await
    }

    async fn answer(&self, mut request: Request<Body>) -> Response<Body> {
        request.extensions_mut().insert(axum::extract::ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 1))));
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn read(&self, request: Request<Body>) -> (u16, Value) {
        let response = self.answer(request).await;
        let status = response.status().as_u16();
        let page =
            response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, if page { Value::Null } else { serde_json::from_slice(&bytes).unwrap() })
    }

    /// Signed in by that name and key, whoever that is.
    async fn ask_with(&self, name: &str, key: &str, method: &str, path: &str) -> (u16, Value) {
        let basic = base64::prelude::BASE64_STANDARD.encode(format!("{name}:{key}"));
        let request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(path)
            .header(header::AUTHORIZATION, format!("Basic {basic}"))
            .extension(axum::extract::ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 1))))
            .body(Body::empty());
        let response = self.router.clone().oneshot(request.unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    async fn ask(&self, who: &str, method: &str, path: &str, body: Value) -> (u16, Value) {
        let response = self.send(who, method, path, body).await;
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    /// As Ann, expecting success.
    async fn ann(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, mut answer) = self.ask(ANN, method, path, body).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer["data"].take()
    }

    /// As Ann, expecting a refusal.
    async fn refused(&self, method: &str, path: &str, body: Value) -> (u16, String) {
        let (status, answer) = self.ask(ANN, method, path, body).await;
        assert!(status >= 400, "{method} {path}: {status} {answer}");
        (status, answer["errors"].to_string())
    }

    /// Deploys code whose processes are `NAME: COMMAND` by comma, as a push would.
    async fn push(&self, app: &str, procfile: &str, sha: &str) {
        let app = self.store.app_by_name(&AppName::parse(app).unwrap()).await.unwrap();
        let process = |entry: &str| {
            let (name, command) = entry.split_once(": ").unwrap();
            (ProcessType::parse(name).unwrap(), command.to_owned())
        };
        let slug = Slug {
            digest: SlugDigest::parse(&hex::encode(Sha256::digest(sha))).unwrap(),
            size: 1,
            sha: sha.repeat(40),
            stack: app.stack.clone(),
            kind: SlugKind::Other,
            processes: procfile.split(", ").map(process).collect(),
            customer_app_name: Some("hill".to_owned()),
            customer_app_version: Some(format!("0.1.{sha}")),
            capabilities: Value::Null,
            schedules: Vec::new(),
        };
        let id = self.store.record_slug(app.id, slug.clone()).await.unwrap();
        let deploy =
            Deploy { app: app.id, slug: (id, slug), by: ANN.to_owned(), push: None, before_commit: None, hot: None };
        self.deployer.deploy(deploy, &Progress::silent()).await.unwrap();
    }
}

struct Sealed(Sealer);

impl Seals for Sealed {
    fn seal(&self, context: &str, plain: &[u8]) -> Vec<u8> {
        self.0.seal(context, plain)
    }

    fn unseal(&self, context: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        self.0.unseal(context, sealed).ok()
    }
}

struct NobodyVisits;

#[async_trait]
impl Draining for NobodyVisits {
    async fn drained(&self, _backend: Backend) {}
}

struct AppLogs(Logs);

#[async_trait]
impl AppLog for AppLogs {
    fn platform(&self, app: &AppName, text: String) {
        self.0.platform(app, text);
    }

    fn build(&self, app: &AppName, text: String) {
        self.0.build(app, text);
    }

    async fn last_lines(&self, app: &AppName, instance: &str, count: usize) -> Vec<String> {
        self.0.last_lines(app, instance, count).await.into_iter().map(|line| line.text).collect()
    }
}

/// Repositories as far as an app's life concerns them.
struct Folders(PathBuf);

#[async_trait]
impl Repositories for Folders {
    async fn create(&self, app: &AppName) -> std::io::Result<()> {
        std::fs::create_dir_all(self.0.join(app.as_str()))
    }

    async fn remove(&self, app: &AppName) -> std::io::Result<()> {
        match std::fs::remove_dir_all(self.0.join(app.as_str())) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    async fn list(&self) -> std::io::Result<Vec<AppName>> {
        let folders = std::fs::read_dir(&self.0)?;
        folders.map(|folder| Ok(AppName::parse(folder?.file_name().to_str().unwrap()).unwrap())).collect()
    }
}

#[tokio::test]
async fn another_persons_app_is_as_if_it_did_not_exist() {
    let platform = Platform::new().await;
    platform.ann("POST", "/api/apps", json!({"unique_name": "hill"})).await;
    platform.push("hill", "web: serve", "1").await;
    platform.ask(BEN, "POST", "/api/apps", json!({"unique_name": "bens"})).await;
    let routes = [
        ("GET", "", json!(null)),
        ("PATCH", "", json!({"unique_name": "x1"})),
        ("PUT", "", json!({})),
        ("GET", "/status", json!(null)),
        ("PUT", "/scale", json!({"replicas": 2})),
        ("PUT", "/restart", json!(null)),
        ("GET", "/configs", json!(null)),
        ("POST", "/configs", json!({"configs": {"A": "1"}})),
        ("DELETE", "/configs", json!({"key": "A"})),
        ("POST", "/configs/copy", json!({"from": "bens"})),
        ("GET", "/releases", json!(null)),
        ("GET", "/releases/latest", json!(null)),
        ("POST", "/releases/1/rollback", json!(null)),
        ("PUT", "/stack", json!({"stack": "debian-12"})),
        ("GET", "/logs?follow=False", json!(null)),
        ("DELETE", "", json!(null)),
    ];
    for (method, path, body) in routes {
        let (status, hers) = platform.ask(BEN, method, &format!("/api/apps/hill{path}"), body.clone()).await;
        let (_, nobodys) = platform.ask(BEN, method, &format!("/api/apps/dale{path}"), body).await;
        assert_eq!(status, 404, "{method} {path}");
        assert_eq!(hers.to_string(), nobodys.to_string().replace("dale", "hill"), "{method} {path}");
    }
    let copy = platform.ask(BEN, "POST", "/api/apps/bens/configs/copy", json!({"from": "hill"})).await;
    assert_eq!(copy.0, 404);
    assert_eq!(platform.ask(BEN, "GET", "/api/apps", json!(null)).await.1["data"].as_array().unwrap().len(), 1);
    assert_eq!(platform.ann("GET", "/api/apps/hill", json!(null)).await["version"], 1, "nothing of it did anything");
}

#[tokio::test]
async fn apps_are_made_listed_and_described() {
    let platform = Platform::new().await;
    let made = platform.ann("POST", "/api/apps", json!({})).await;
    let name = made["unique_name"].as_str().unwrap().to_owned();
    assert!(name.contains('-') && AppName::parse(&name).is_ok(), "{name}");
    let hill = platform.ann("POST", "/api/apps", json!({"unique_name": "Hill", "cloud": "gcp"})).await;
    assert_eq!(hill["unique_name"], "hill");
    assert_eq!(hill["url"], "http://hill.example.com:8080/");
    assert_eq!(hill["git_url"], "http://git.example.com:4000/hill.git");
    assert_eq!(hill["stack"], "debian-12");
    assert_eq!((&hill["replicas"], &hill["version"], &hill["size"]), (&json!(1), &json!(0), &json!(0.5)));
    assert!(platform.repositories.join("hill").is_dir());

    let errors = [
        (json!({"unique_name": "hill"}), "has already been taken"),
        (json!({"unique_name": "api"}), "is reserved"),
        (json!({"unique_name": "a_b"}), "has invalid format"),
        (json!({"unique_name": "dale", "stack": "gigalixir-20"}), "there is debian-12, debian-13"),
    ];
    for (body, reason) in errors {
        let (status, text) = platform.refused("POST", "/api/apps", body).await;
        assert!(status == 422 && text.contains(reason), "{status} {text}");
    }
    platform.ann("POST", "/api/apps", json!({"unique_name": "dale", "stack": "debian-13"})).await;
    let (status, text) = platform.refused("POST", "/api/apps", json!({})).await;
    assert!(status == 422 && text.contains("3 apps"), "{text}");
    assert_eq!(platform.ann("GET", "/api/apps", json!(null)).await.as_array().unwrap().len(), 3);

    let (status, text) = platform.refused("PATCH", "/api/apps/hill", json!({"unique_name": "hills"})).await;
    assert!(status == 422 && text.contains("unique_name") && text.contains("cannot be changed"), "{text}");
    let stacked = platform.ann("PUT", "/api/apps/hill/stack", json!({"stack": "debian-13"})).await;
    assert_eq!(stacked["stack"], "debian-13");
}

#[tokio::test]
async fn two_at_once_do_not_pass_the_limit() {
    let platform = Platform::new().await;
    let create = || platform.ask(ANN, "POST", "/api/apps", json!({}));
    let (a, b, c, d, e) = tokio::join!(create(), create(), create(), create(), create());
    let made = [a, b, c, d, e].iter().filter(|(status, _)| *status == 201).count();
    assert_eq!(made, 3);
}

#[tokio::test]
async fn replicas_are_shown_scaled_and_restarted() {
    let platform = Platform::new().await;
    platform.ann("POST", "/api/apps", json!({"unique_name": "hill"})).await;
    let before = platform.ann("PUT", "/api/apps/hill/scale", json!(null)).await;
    assert_eq!(before, json!({"replicas": 1, "size": 0.5, "formation": {"web": 1}}));
    platform.push("hill", "web: serve, worker: serve", "1").await;

    let both = json!({"replicas": 2, "size": 700, "formation": {"worker": 1}});
    let scaled = platform.ann("PUT", "/api/apps/hill/scale", both).await;
    assert_eq!(scaled, json!({"replicas": 2, "size": 0.7, "formation": {"web": 2, "worker": 1}}));
    let status = platform.ann("GET", "/api/apps/hill/status", json!(null)).await;
    assert_eq!((&status["replicas_desired"], &status["size"]), (&json!(3), &json!(0.7)));
    let healthy: Vec<&Value> =
        status["pods"].as_array().unwrap().iter().filter(|pod| pod["status"] == "Healthy").collect();
    assert_eq!(healthy.len(), 3);
    assert_eq!(status["replicas_running"], 3);
    assert_eq!(healthy[0]["sha"], "1".repeat(40));
    assert_eq!((&healthy[0]["version"], &healthy[0]["lastState"]), (&json!(1), &json!({})));

    for (body, reason) in [
        (json!({"formation": {"clock": 1}}), "clock"),
        (json!({"formation": {"Web": 1}}), "has invalid format"),
        (json!({"size": 0.01}), "must be between"),
        (json!({"replicas": 101}), "at most 100"),
    ] {
        let (status, text) = platform.refused("PUT", "/api/apps/hill/scale", body).await;
        assert!(status == 422 && text.contains(reason), "{status} {text}");
    }
    assert_eq!(platform.refused("PUT", "/api/apps/hill/scale", json!({"replicas": -1})).await.0, 422);
    assert_eq!(platform.ann("PUT", "/api/apps/hill/restart", json!(null)).await, "restarted");
    platform.ann("PUT", "/api/apps/hill/scale", json!({"replicas": 0})).await;
    let app = platform.ann("GET", "/api/apps/hill", json!(null)).await;
    assert_eq!((&app["replicas"], &app["formation"]), (&json!(0), &json!({"web": 0, "worker": 1})));
}

#[tokio::test]
async fn config_is_set_in_both_shapes_unset_and_copied() {
    let platform = Platform::new().await;
    platform.ann("POST", "/api/apps", json!({"unique_name": "hill"})).await;
    platform.ann("POST", "/api/apps", json!({"unique_name": "dale"})).await;
    let configs = "/api/apps/hill/configs";
    assert_eq!(platform.ann("GET", configs, json!(null)).await, json!({}));
    let set = json!({"configs": {"A": "1", "B": "b=c\n"}, "avoid_restart": false});
    let (status, answer) = platform.ask(ANN, "POST", configs, set).await;
    assert_eq!((status, &answer["data"]), (201, &json!({"A": "1", "B": "b=c\n"})));
    platform.ann("POST", configs, json!({"key": "C", "value": "3"})).await;
    platform.ann("POST", configs, json!({"configs": {}, "avoid_restart": true})).await;
    assert_eq!(platform.ann("DELETE", configs, json!({"key": "A"})).await, json!({"B": "b=c\n", "C": "3"}));
    assert_eq!(platform.ann("DELETE", configs, json!({"keys": ["C", "ABSENT"]})).await, json!({"B": "b=c\n"}));

    platform.ann("POST", "/api/apps/dale/configs", json!({"configs": {"B": "old", "D": "4"}})).await;
    let copied = platform.ann("POST", "/api/apps/dale/configs/copy", json!({"from": "hill"})).await;
    assert_eq!(copied, json!({"B": "b=c\n", "D": "4"}));

    for body in [
        json!({}),
        json!({"key": "K"}),
        json!({"configs": {"1X": "v"}}),
        json!({"configs": {"X": "\0"}}),
        json!({"configs": {"X": "x".repeat(40_000)}}),
    ] {
        assert_eq!(platform.refused("POST", configs, body).await.0, 422);
    }
    assert_eq!(platform.refused("DELETE", configs, json!(null)).await.0, 422);
    let summaries: Vec<Value> =
        platform.ann("GET", "/api/apps/hill/releases", json!(null)).await.as_array().unwrap()[..]
            .iter()
            .map(|release| release["summary"].clone())
            .collect();
    assert_eq!(summaries.len(), 4, "one release per change, none for nothing: {summaries:?}");
    assert_eq!(summaries[2], "Set `C` config var.");
}

#[tokio::test]
async fn setting_restarts_today_and_did_not_in_2017() {
    let platform = Platform::new().await;
    platform.ann("POST", "/api/apps", json!({"unique_name": "hill"})).await;
    platform.push("hill", "web: serve", "1").await;
    let newest = || async {
        let status = platform.ann("GET", "/api/apps/hill/status", json!(null)).await;
        status["pods"].as_array().unwrap().iter().map(|pod| pod["version"].as_u64().unwrap()).max().unwrap()
    };
    platform.ann("POST", "/api/apps/hill/configs", json!({"key": "A", "value": "1"})).await;
    platform.ann("POST", "/api/apps/hill/configs", json!({"configs": {"B": "1"}, "avoid_restart": true})).await;
    assert_eq!(newest().await, 1);
    platform.ann("POST", "/api/apps/hill/configs", json!({"configs": {"B": "2"}, "avoid_restart": false})).await;
    assert_eq!(newest().await, 4);
}

#[tokio::test]
async fn releases_are_listed_newest_first_and_rolled_back_to_by_either_name() {
    let platform = Platform::new().await;
    platform.ann("POST", "/api/apps", json!({"unique_name": "hill"})).await;
    let (status, text) = platform.refused("POST", "/api/apps/hill/releases/previous/rollback", json!(null)).await;
    assert!(status == 422 && text.contains("no earlier release"), "{text}");
    platform.push("hill", "web: serve", "1").await;
    platform.push("hill", "web: serve", "2").await;
    let releases = platform.ann("GET", "/api/apps/hill/releases", json!(null)).await;
    assert_eq!((&releases[0]["version"], &releases[1]["version"]), (&json!(2), &json!(1)));
    assert_eq!(releases[0]["sha"], "2".repeat(40));
    assert_eq!(releases[0]["slug_url"], "<REDACTED>");
    let latest = platform.ann("GET", "/api/apps/hill/releases/latest", json!(null)).await;
    assert_eq!((&latest["customer_app_name"], &latest["state"]), (&json!("hill"), &json!("live")));
    assert_eq!(platform.ann("GET", "/api/apps/hill/releases/v1", json!(null)).await["customer_app_version"], "0.1.1");

    let id = releases[1]["rollback_id"].as_str().unwrap();
    for which in ["1", id, "previous"] {
        let path = format!("/api/apps/hill/releases/{which}/rollback");
        assert_eq!(platform.ann("POST", &path, json!(null)).await, "rolled back");
    }
    let releases = platform.ann("GET", "/api/apps/hill/releases", json!(null)).await;
    assert_eq!((&releases[0]["version"], &releases[0]["sha"]), (&json!(5), &json!("1".repeat(40))));
    for which in ["99", "x", "01890a5d-ac96-774b-bcce-b302099a8057"] {
        let path = format!("/api/apps/hill/releases/{which}/rollback");
        assert_eq!(platform.refused("POST", &path, json!(null)).await.0, 404, "{which}");
    }
}

#[tokio::test]
async fn a_destroyed_app_is_wholly_gone_and_its_name_is_free() {
    let platform = Platform::new().await;
    platform.ann("POST", "/api/apps", json!({"unique_name": "hill"})).await;
    platform.push("hill", "web: serve", "1").await;
    std::fs::write(platform.repositories.join("hill/HEAD"), "ref").unwrap();
    assert_eq!(platform.ann("DELETE", "/api/apps/hill", json!(null)).await, "deleted");
    assert_eq!(platform.refused("DELETE", "/api/apps/hill", json!(null)).await.0, 404);
    assert!(!platform.repositories.join("hill").exists());
    assert!(platform.logs.apps().await.unwrap().is_empty());
    let (status, _) = platform.ask(BEN, "POST", "/api/apps", json!({"unique_name": "hill"})).await;
    assert_eq!(status, 201);
    let (_, releases) = platform.ask(BEN, "GET", "/api/apps/hill/releases", json!(null)).await;
    assert_eq!(releases["data"], json!([]));
    let lines = platform.send(BEN, "GET", "/api/apps/hill/logs?follow=False", json!(null)).await;
    let lines = String::from_utf8(lines.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
    assert!(lines.contains("created by ben@") && lines.lines().count() == 1, "{lines}");
}

#[tokio::test]
async fn what_a_killed_server_left_half_done_is_finished_at_the_next_start() {
    let platform = Platform::new().await;
    platform.ann("POST", "/api/apps", json!({"unique_name": "hill"})).await;
    std::fs::remove_dir(platform.repositories.join("hill")).unwrap();
    std::fs::create_dir(platform.repositories.join("ghost")).unwrap();
    platform.logs.platform(&AppName::parse("ghost").unwrap(), "boo");
    platform.logs.flush().await;
    platform.apps.tidy().await.unwrap();
    assert!(platform.repositories.join("hill").exists() && !platform.repositories.join("ghost").exists());
    let logs = platform.logs.apps().await.unwrap();
    assert_eq!(logs.iter().map(AppName::as_str).collect::<Vec<_>>(), ["hill"]);
}

#[tokio::test]
async fn logs_are_plain_text_and_forgiving_about_their_query() {
    let platform = Platform::new().await;
    platform.ann("POST", "/api/apps", json!({"unique_name": "hill"})).await;
    let hill = AppName::parse("hill").unwrap();
    for n in 0..150 {
        let process = ProcessType::parse(if n % 2 == 0 { "web" } else { "worker" }).unwrap();
        let source = LogSource::Instance { name: format!("hill-{process}-1-1"), process, index: 1 };
        platform.logs.append(&hill, LogLine { at: jiff::Timestamp::now(), source, text: format!("line {n}") });
    }
    let read = async |query: &'static str| {
        let path = format!("/api/apps/hill/logs?{query}");
        let response = platform.send(ANN, "GET", &path, json!(null)).await;
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/plain; charset=utf-8");
        assert!(response.headers().get(header::CONTENT_ENCODING).is_none());
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    };
    for query in ["follow=False", "num_lines=abc&follow=False", "num_lines=-3&follow=False", "num_lines=&follow=false"]
    {
        assert_eq!(read(query).await.lines().count(), 100, "{query}");
    }
    assert_eq!(read("num_lines=9999999999&follow=False").await.lines().count(), 151);
    assert_eq!(read("num_lines=0&follow=False").await, "");
    let worker = read("num_lines=2&follow=False&process=worker").await;
    assert!(worker.ends_with(" app[hill-worker-1-1]: worker.1 | line 149\n"), "{worker}");
    assert_eq!(worker.lines().count(), 2);
    let by_name = read("num_lines=2&follow=False&replica=hill-worker-1-1").await;
    assert_eq!(by_name, worker);
    assert_eq!(read("num_lines=2&follow=False&replica=worker.1").await, worker);
    assert_eq!(read("follow=False&replica=worker.11").await, "");
    assert_eq!(read("follow=False&replica=worker.1&process=web").await, "");
    assert_eq!(platform.refused("GET", "/api/apps/hill/logs?process=No+Type", json!(null)).await.0, 422);
}

#[tokio::test]
async fn following_sends_each_line_at_once_and_ends_with_the_server() {
    let platform = Platform::new().await;
    platform.ann("POST", "/api/apps", json!({"unique_name": "hill"})).await;
    let hill = AppName::parse("hill").unwrap();
    let response = platform.send(ANN, "GET", "/api/apps/hill/logs?num_lines=1&follow=True", json!(null)).await;
    let mut pieces = response.into_body().into_data_stream();
    let old = pieces.next().await.unwrap().unwrap();
    assert!(old.ends_with(b"App created by ann@example.com\n"), "{old:?}");
    platform.logs.platform(&hill, "one");
    assert!(pieces.next().await.unwrap().unwrap().ends_with(b"app[gigalixir]: one\n"));
    platform.logs.platform(&hill, "two");
    assert!(pieces.next().await.unwrap().unwrap().ends_with(b"app[gigalixir]: two\n"));
    platform.shutdown.cancel();
    let end = tokio::time::timeout(Duration::from_secs(1), pieces.next()).await;
    assert!(end.unwrap().is_none());
}

#[tokio::test]
async fn a_slug_is_for_whoever_holds_its_signed_address() {
    let platform = Platform::new().await;
    let archive = platform.repositories.join("archive");
    std::fs::write(&archive, b"0123456789").unwrap();
    let digest = SlugDigest::parse(&hex::encode(Sha256::digest(b"0123456789"))).unwrap();
    platform.slugs.put(&digest, &archive).await.unwrap();
    let base = Url::parse("http://localhost").unwrap();
    let fetch = |url: Url, range: Option<&'static str>| {
        let path = format!("{}?{}", url.path(), url.query().unwrap_or_default());
        let mut request = Request::builder().uri(path);
        if let Some(range) = range {
            request = request.header(header::RANGE, range);
        }
        let request = request.body(Body::empty()).unwrap();
        async {
            let response = platform.answer(request).await;
            let status = response.status().as_u16();
            (status, response.into_body().collect().await.unwrap().to_bytes())
        }
    };
    let url = platform.slugs.signed_url(&base, &digest, Duration::from_secs(60));
    assert_eq!(fetch(url.clone(), None).await, (200, "0123456789".into()));
    assert_eq!(fetch(url.clone(), Some("bytes=2-4")).await, (206, "234".into()));
    let other = SlugDigest::parse(&"a".repeat(64)).unwrap();
    let mut moved = url.clone();
    moved.set_path(&format!("/slugs/{other}.tar.gz"));
    assert_eq!(fetch(moved, None).await.0, 403);
    let expired = platform.slugs.signed_url(&base, &digest, Duration::ZERO);
    assert_eq!(fetch(expired, None).await.0, 403);
    let absent = platform.slugs.signed_url(&base, &other, Duration::from_secs(60));
    assert_eq!(fetch(absent, None).await.0, 404);
    let mut unsigned = url;
    unsigned.set_query(None);
    assert_eq!(fetch(unsigned, None).await.0, 422);
}

#[tokio::test]
async fn a_build_fetches_and_hands_in_by_its_addresses() {
    let platform = Platform::new().await;
    let base = Url::parse("http://localhost").unwrap();
    let file = platform.parcels.file().unwrap();
    std::fs::write(file.path(), "folders").unwrap();
    let parcel = platform.parcels.expect("build-1", file.into_temp_path(), 5).unwrap();
    let ask = |method: &'static str, url: &Url, body: &'static str| {
        let path = format!("{}?{}", url.path(), url.query().unwrap_or_default());
        let request = Request::builder().method(method).uri(path).body(Body::from(body)).unwrap();
        async {
            let response = platform.answer(request).await;
            let status = response.status().as_u16();
            (status, response.into_body().collect().await.unwrap().to_bytes())
        }
    };
    let (fetch, send) = parcel.addresses(&base, Duration::from_secs(60));
    assert_eq!(ask("GET", &fetch, "").await, (200, "folders".into()));
    assert_eq!(ask("GET", &send, "").await.0, 403);
    assert_eq!(ask("PUT", &fetch, "12345").await.0, 403);
    assert_eq!(ask("POST", &send, "12345").await.0, 405);
    assert_eq!(ask("PUT", &send, "12345").await.0, 200);
    assert_eq!(ask("PUT", &send, "12345").await.0, 409);
    assert_eq!(std::io::read_to_string(parcel.open().unwrap()).unwrap(), "12345");
    assert_eq!((ask("GET", &fetch, "").await.0, ask("PUT", &send, "12345").await.0), (404, 404));

    let parcel = platform.parcels.expect("build-2", platform.parcels.file().unwrap().into_temp_path(), 5).unwrap();
    let (_, send) = parcel.addresses(&base, Duration::from_secs(60));
    assert_eq!(ask("PUT", &send, "123456").await.0, 413);
}
