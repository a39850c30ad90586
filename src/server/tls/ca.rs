//! Talking to CAs: an HTTP client that hears when a CA asks to be left alone, and one account for each directory.
//!
//! 503 is about the CA, and everybody waits; 429 is about what was asked for (a limit of one name may last a week), and
//! only that waits.

use std::cell::Cell;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::{Bytes, BytesMut};
use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use instant_acme::{
    Account, AccountCredentials, BodyWrapper, BytesResponse, Error, ExternalAccountKey, HttpClient, NewAccount,
};
use jiff::Timestamp;
use secrecy::ExposeSecret;
use tokio::sync::Mutex;

use super::TlsError;
use crate::server::config::{TlsConfig, TlsMode};
use crate::server::seal::Sealer;
use crate::server::store::Store;

/// For one request.
const PATIENCE: Duration = Duration::from_secs(30);
/// Seconds to wait where a CA does not say how long.
const WHILE: u64 = 60;
/// Bytes of an answer; a chain has a few thousand.
const LARGEST: usize = 1 << 20;

tokio::task_local! {
    /// Until when this order shall wait.
    static ASKED_TO_WAIT: Cell<Option<Timestamp>>;
}

/// Does what is to be done at a CA; and until when it said that this shall wait, if it did.
pub(super) async fn heeding<T>(work: impl Future<Output = T>) -> (T, Option<Timestamp>) {
    let heard = async { (work.await, ASKED_TO_WAIT.with(Cell::get)) };
    ASKED_TO_WAIT.scope(Cell::new(None), heard).await
}

/// Why a CA gave no certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    /// It could not be asked, or not now; nothing it said is against us.
    #[error("{0}")]
    Unreachable(String),
    /// It said no.
    #[error("{0}")]
    Refused(String),
    /// Ours.
    #[error(transparent)]
    Ours(#[from] TlsError),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        // Asked three times with a new nonce each time; that and limits are the CA's weather and no refusal.
        let weather = |kind: &str| kind.ends_with(":badNonce") || kind.ends_with(":rateLimited");
        match error {
            Error::Api(problem)
                if problem.r#type.as_deref().is_some_and(weather)
                    || problem.status.is_some_and(|status| status == 429 || status >= 500) =>
            {
                Self::Unreachable(problem.to_string())
            }
            Error::Api(problem) => Self::Refused(problem.to_string()),
            Error::Unsupported(_) | Error::Crypto | Error::KeyRejected | Error::InvalidUri(_) => {
                Self::Refused(error.to_string())
            }
            other => Self::Unreachable(innermost(&other)),
        }
    }
}

impl From<crate::server::store::StoreError> for Failed {
    fn from(error: crate::server::store::StoreError) -> Self {
        Self::Ours(error.into())
    }
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(error.source(), |error| error.source());
    chain.fold(error.to_string(), |text, error| format!("{text}: {error}"))
}

/// The accounts, made when they are first needed.
pub(super) struct Cas {
    config: TlsConfig,
    store: Store,
    sealer: Arc<Sealer>,
    /// Where CAs are asked.
    client: Option<reqwest::Client>,
    known: std::sync::Mutex<HashMap<String, Arc<Ca>>>,
}

/// One directory.
struct Ca {
    web: Arc<Web>,
    /// Held while it is made: for one directory once.
    account: Mutex<Option<Account>>,
}

impl Cas {
    pub(super) fn new(config: &TlsConfig, store: &Store, sealer: &Arc<Sealer>) -> Result<Self, TlsError> {
        let (store, sealer) = (store.clone(), Arc::clone(sealer));
        let client = if config.mode == TlsMode::Acme { Some(client(config)?) } else { None };
        Ok(Self { config: config.clone(), store, sealer, client, known: Default::default() })
    }

    /// The directory to ask after so many failures.
    pub(super) fn directory(&self, attempts: u32) -> String {
        let directories = &self.config.directories;
        let turn = attempts as usize % directories.len().max(1);
        directories.get(turn).map(ToString::to_string).unwrap_or_default()
    }

    /// The account with a CA.
    pub(super) async fn account(&self, directory: &str) -> Result<Account, Failed> {
        let ca = self.ca(directory)?;
        let mut known = ca.account.lock().await;
        if let Some(account) = &*known {
            return Ok(account.clone());
        }
        let builder = Account::builder_with_http(Box::new(Shared(Arc::clone(&ca.web))));
        let context = format!("acme:{directory}");
        let account = match self.store.acme_account(directory.to_owned()).await? {
            Some(sealed) => {
                let plain = self.sealer.unseal(&context, &sealed).map_err(TlsError::from)?;
                let credentials: AccountCredentials = serde_json::from_slice(&plain).map_err(Error::from)?;
                builder.from_credentials(credentials).await?
            }
            None => {
                let contact = self.config.contact.as_deref().map(|mail| match mail.contains(':') {
                    true => mail.to_owned(),
                    false => format!("mailto:{mail}"),
                });
                let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
                let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
                let binding = self.binding(directory)?;
                let (account, credentials) = builder.create(&new, directory.to_owned(), binding.as_ref()).await?;
                let plain = serde_json::to_vec(&credentials).map_err(Error::from)?;
                let sealed = self.sealer.seal(&context, &plain);
                self.store.keep_acme_account(directory.to_owned(), sealed).await?;
                tracing::info!(ca = directory, "made an account with a CA");
                account
            }
        };
        Ok(known.insert(account).clone())
    }

    fn ca(&self, directory: &str) -> Result<Arc<Ca>, Failed> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ca) = known.get(directory) {
            return Ok(Arc::clone(ca));
        }
        let client = self.client.clone().ok_or_else(|| Failed::Refused("no CA is asked in this mode".into()))?;
        let web = Arc::new(Web { client, until: AtomicI64::new(0) });
        let ca = Arc::new(Ca { web, account: Mutex::default() });
        known.insert(directory.to_owned(), Arc::clone(&ca));
        Ok(ca)
    }

    /// The CA does not know the account any more: the next one is new.
    pub(super) async fn forget(&self, directory: &str) -> Result<(), Failed> {
        *self.ca(directory)?.account.lock().await = None;
        Ok(self.store.forget_acme_account(directory.to_owned()).await?)
    }

    /// Until when a CA wants to be left alone by everybody.
    pub(super) fn told_to_wait(&self, directory: &str) -> Option<Timestamp> {
        let until = self.ca(directory).ok()?.web.until.load(Relaxed);
        Timestamp::from_millisecond(until).ok().filter(|until| *until > Timestamp::now())
    }

    fn binding(&self, directory: &str) -> Result<Option<ExternalAccountKey>, Failed> {
        let eab = &self.config.eab;
        let theirs = match &eab.directory {
            Some(url) => url.as_str() == directory,
            None => self.directory(0) == directory,
        };
        let (Some(kid), Some(key), true) = (&eab.kid, &eab.key, theirs) else { return Ok(None) };
        let text = key.expose_secret().trim_end_matches('=').replace('+', "-").replace('/', "_");
        let key = BASE64_URL_SAFE_NO_PAD.decode(text);
        let key = key.map_err(|_| Failed::Refused("`tls.eab.key` is not base64url".into()))?;
        Ok(Some(ExternalAccountKey::new(kid.clone(), &key)))
    }
}

fn client(config: &TlsConfig) -> Result<reqwest::Client, TlsError> {
    let mut client = reqwest::Client::builder().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none());
    if let Some(path) = &config.ca_file {
        let unusable = |why: String| TlsError::CaFile { path: path.clone(), why };
        let pem = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
        let roots = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| unusable(error.to_string()))?;
        client = client.tls_certs_only(roots);
    }
    client.build().map_err(|error| TlsError::Client(error.to_string()))
}

/// One directory's client.
struct Web {
    client: reqwest::Client,
    /// Milliseconds since 1970: rounded to seconds it would come too early.
    until: AtomicI64,
}

/// When to come again (RFC 9110 10.2.3): seconds from now, or a date.
fn retry_after(said: Option<&str>, now: Timestamp) -> Timestamp {
    let said = said.map(str::trim).unwrap_or_default();
    let dates = jiff::fmt::rfc2822::DateTimeParser::new();
    match (said.parse::<u32>(), dates.parse_timestamp(said)) {
        (Ok(seconds), _) => now + Duration::from_secs(seconds.into()),
        (_, Ok(date)) => date,
        _ => now + Duration::from_secs(WHILE),
    }
}

struct Shared(Arc<Web>);

impl HttpClient for Shared {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let web = Arc::clone(&self.0);
        Box::pin(async move { web.ask(request).await })
    }
}

impl Web {
    async fn ask(&self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Error> {
        let other = |error: reqwest::Error| Error::Other(Box::new(error));
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_or_else(|never| match never {}, |body| body.to_bytes());
        let asked = self.client.request(parts.method, parts.uri.to_string()).headers(parts.headers).body(body);
        let mut answer = asked.send().await.map_err(other)?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            let after = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
            let until = retry_after(after, Timestamp::now());
            // Nobody heeds it outside an order.
            let _ = ASKED_TO_WAIT.try_with(|asked| asked.set(asked.get().max(Some(until))));
            if status == StatusCode::SERVICE_UNAVAILABLE {
                self.until.store(until.as_millisecond(), Relaxed);
            }
        }
        let mut bytes = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(other)? {
            if bytes.len() + chunk.len() > LARGEST {
                return Err(Error::Str("an answer of reasonable length"));
            }
            bytes.extend_from_slice(&chunk);
        }
        let mut response = Response::new(());
        (*response.status_mut(), *response.headers_mut()) = (status, headers);
        let (parts, ()) = response.into_parts();
        Ok(BytesResponse { parts, body: Box::new(bytes.freeze()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_says_how_long_in_seconds_or_by_a_date() {
        let now: Timestamp = "2026-11-26T01:00:00Z".parse().unwrap();
        for (said, wanted) in [
            (Some("120"), "2026-11-26T01:02:00Z"),
            (Some(" Thu, 26 Nov 2026 03:00:00 GMT"), "2026-11-26T03:00:00Z"),
            (Some("soon"), "2026-11-26T01:01:00Z"),
            (Some("-5"), "2026-11-26T01:01:00Z"),
            (None, "2026-11-26T01:01:00Z"),
        ] {
            assert_eq!(retry_after(said, now).to_string(), wanted, "{said:?}");
        }
    }
}
