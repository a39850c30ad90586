//! The door without a network, as far as it can be had without apps: accounts and health.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, FromRef};
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::origin::TrustedProxies;
use super::{account, dressed, health, mfa, payments, ssh_keys};
use crate::server::actions::account::{AccountRules, Accounts};
use crate::server::clock::Clock;
use crate::server::config::{Rates, Signups, SmtpConfig};
use crate::server::domain::Hostname;
use crate::server::mail::Mailer;
use crate::server::seal::Sealer;
use crate::server::store::Store;

/// A platform on a folder of its own.
pub(crate) struct Platform {
    pub(crate) router: Router,
    pub(crate) clock: Clock,
    pub(crate) outbox: PathBuf,
    pub(crate) store: Store,
    pub(crate) sealer: Arc<Sealer>,
    _folder: tempfile::TempDir,
}

#[derive(Clone)]
struct Doors {
    accounts: Arc<Accounts>,
    store: Store,
}

impl FromRef<Doors> for Arc<Accounts> {
    fn from_ref(doors: &Doors) -> Self {
        doors.accounts.clone()
    }
}

impl FromRef<Doors> for Store {
    fn from_ref(doors: &Doors) -> Self {
        doors.store.clone()
    }
}

impl FromRef<Doors> for TrustedProxies {
    fn from_ref(_: &Doors) -> Self {
        Self::default()
    }
}

async fn panics() -> &'static str {
    panic!("on purpose")
}

/// An answer that has arrived.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Arrived {
    /// The one message of a refusal, after its field.
    pub(crate) fn refusal(&self) -> (&str, &str) {
        let errors = self.body["errors"].as_object().unwrap_or_else(|| panic!("no refusal: {self:?}"));
        let (field, messages) = errors.iter().next().unwrap();
        (field, messages[0].as_str().unwrap())
    }
}

/// Rates that no test reaches by accident.
pub(crate) fn generous() -> Rates {
    Rates { logins_per_address: 1000, logins_per_account: 1000, codes_per_address: 1000, ..Rates::default() }
}

impl Platform {
    pub(crate) fn new(signups: Signups) -> Self {
        Self::with(signups, generous(), &SmtpConfig::default())
    }

    pub(crate) fn with(signups: Signups, rates: Rates, smtp: &SmtpConfig) -> Self {
        Self::made(signups, rates, smtp, false)
    }

    /// Where use has a price.
    pub(crate) fn with_billing() -> Self {
        Self::made(Signups::Open, generous(), &SmtpConfig::default(), true)
    }

    fn made(signups: Signups, rates: Rates, smtp: &SmtpConfig, billing: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("db")).unwrap();
        let (clock, outbox) = (Clock::system(), folder.path().join("outbox"));
        let mailer = Mailer::new(smtp, &Hostname::localhost(), outbox.clone()).unwrap();
        let rules = AccountRules {
            signups,
            rates,
            ssh_keys: 50,
            billing,
            domain: Hostname::localhost(),
            api_url: "http://api.test".to_owned(),
        };
        let sealer = Arc::new(Sealer::open(&folder.path().join("key")).unwrap());
        let accounts = Accounts::new(store.clone(), mailer, sealer.clone(), rules, clock.clone()).unwrap();
        let doors = Doors { accounts: Arc::new(accounts), store: store.clone() };
        let routes = account::routes().merge(ssh_keys::routes()).merge(mfa::routes()).merge(payments::routes());
        let routes =
            routes.get("/healthz", health::check, "").with_document().into_router().route("/panic", get(panics));
        let router = dressed(routes, &doors, 64 * 1024).with_state(doors);
        Self { router, clock, outbox, store, sealer, _folder: folder }
    }

    /// Asks as the official client does: with a JSON content type, body or no body.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        basic: Option<(&str, &str)>,
        body: Option<Value>,
    ) -> Arrived {
        let mut request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, "application/json");
        if let Some((user, secret)) = basic {
            let value = format!("Basic {}", STANDARD.encode(format!("{user}:{secret}")));
            request = request.header(header::AUTHORIZATION, value);
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        self.send(request.body(body).unwrap()).await
    }

    pub(crate) async fn send(&self, mut request: Request<Body>) -> Arrived {
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 40_000))));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| panic!("no JSON: {parts:?} {bytes:?}"));
        Arrived { status: parts.status, headers: parts.headers, body }
    }

    /// The texts of the mails to `to`, oldest first, once there are `count` of them.
    pub(crate) async fn mails(&self, to: &str, count: usize) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let mut files: Vec<PathBuf> = std::fs::read_dir(&self.outbox).unwrap().map(|e| e.unwrap().path()).collect();
            files.retain(|path| path.extension().is_some_and(|extension| extension == "eml"));
            files.sort();
            let texts = files.iter().map(|path| std::fs::read_to_string(path).unwrap());
            let found: Vec<String> = texts.filter(|text| text.contains(&format!("To: {to}\r\n"))).collect();
            if found.len() >= count {
                return found;
            }
            assert!(Instant::now() < deadline, "{} of {count} mails to {to} came: {found:?}", found.len());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Signs up and returns the first key.
    pub(crate) async fn signed_up(&self, email: &str, password: &str) -> String {
        let uuid = self.confirmed(email).await;
        let body = json!({ "password": password, "uuid": uuid });
        assert_eq!(self.ask("POST", "/api/signup", None, Some(body)).await.status, 200);
        let body = json!({ "tier": "FREE", "uuid": uuid });
        let done = self.ask("POST", "/api/signup", None, Some(body)).await;
        assert_eq!(done.status, 200, "{done:?}");
        assert_eq!(done.body["data"]["email"], email.to_lowercase());
        done.body["data"]["key"].as_str().unwrap().to_owned()
    }

    /// Takes the first two steps of a signup and returns its uuid.
    pub(crate) async fn confirmed(&self, email: &str) -> String {
        let begun = self.ask("POST", "/api/signup", None, Some(json!({ "email": email }))).await;
        assert_eq!(begun.status, 200, "{begun:?}");
        let uuid = begun.body["data"]["uuid"].as_str().unwrap().to_owned();
        let mail = self.mails(&email.to_lowercase(), 1).await.pop().unwrap();
        let body = json!({ "confirmation_code": secret_in(&mail), "uuid": uuid });
        assert_eq!(self.ask("POST", "/api/signup", None, Some(body)).await.status, 200);
        uuid
    }
}

/// The code or token of a mail, which stands on a line of its own.
pub(crate) fn secret_in(mail: &str) -> String {
    let secret = mail.lines().find_map(|line| line.strip_prefix("Code: ").or(line.strip_prefix("Token: ")));
    secret.unwrap_or_else(|| panic!("no secret in {mail}")).to_owned()
}
