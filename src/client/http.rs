//! Requests to the platform's API, and what its answers mean.
//!
//! Redirects are not followed: a key goes to the host it was given for and nowhere else. Changes have no time limit,
//! since the server answers a restart when it is done; a dead connection is noticed by keep-alive probes.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode, Upgraded, redirect};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;

use super::credentials::Credentials;
use super::error::{Error, Kind};
use super::host::Host;
use crate::api;

/// What is only looked up comes soon or not at all.
const READ_LIMIT: Duration = Duration::from_secs(60);

/// A platform's API, as somebody or nobody in particular.
#[derive(Debug, Clone)]
pub struct Api {
    client: reqwest::Client,
    host: Host,
    credentials: Option<Credentials>,
}

/// The `data` of a successful answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// As it came.
    pub data: Value,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum HttpError {
    /// No TLS, no DNS settings…
    #[error("could not prepare the connection: {0}")]
    Setup(String),
    /// Nobody answered.
    #[error("could not reach {host}: {reason}")]
    Unreachable {
        /// The platform.
        host: String,
        /// The innermost cause.
        reason: String,
    },
    /// The answer stopped in the middle.
    #[error("the answer of {host} broke off: {reason}")]
    BrokenOff {
        /// The platform.
        host: String,
        /// The innermost cause.
        reason: String,
    },
    /// A status that is not a success, with the server's own sentences.
    #[error("{message}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// The platform.
        host: String,
        /// "field message", one a line; never empty.
        message: String,
        /// Whether a key was sent.
        signed_in: bool,
        /// Whether the body was in the API's form.
        understood: bool,
    },
    /// Some other web server, or a newer one.
    #[error("{host} answered something that is not the gigalixir API: {shown}")]
    NotTheApi {
        /// The platform.
        host: String,
        /// The beginning of it.
        shown: String,
    },
    /// A redirect.
    #[error("{host} says it is elsewhere{}", .location.as_deref().map(|url| format!(": {url}")).unwrap_or_default())]
    Redirected {
        /// The platform.
        host: String,
        /// Where to.
        location: Option<String>,
    },
}

impl Api {
    /// A client for `host`. With `None` nothing but public endpoints will answer.
    pub fn new(host: Host, credentials: Option<Credentials>) -> Result<Self, HttpError> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("gigalixir/", env!("CARGO_PKG_VERSION")))
            // HTTP/2 cannot change to WebSocket, and requests here come one after the other.
            .http1_only()
            .redirect(redirect::Policy::none())
            .connect_timeout(Duration::from_secs(15))
            .tcp_keepalive(Duration::from_secs(30));
        if host.is_plain_http() {
            // No certificate will be looked at, so a machine without any can be talked to.
            builder = builder.tls_certs_only([]);
        }
        if host.is_loopback() {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| HttpError::Setup(innermost(&error)))?;
        Ok(Self { client, host, credentials })
    }

    /// The platform.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Who asks.
    pub fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// `GET`, decoded.
    pub async fn get(&self, path: &[&str]) -> Result<Answer, HttpError> {
        self.answer(self.request(Method::GET, path).timeout(READ_LIMIT)).await
    }

    /// A request with a JSON body.
    pub async fn send(&self, method: Method, path: &[&str], body: &impl Serialize) -> Result<Answer, HttpError> {
        self.answer(self.request(method, path).json(body)).await
    }

    /// A request without a body.
    pub async fn send_empty(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> Result<Answer, HttpError> {
        self.answer(self.request(method, path).query(query)).await
    }

    /// Asks an endpoint to speak WebSocket; what is refused is refused as everywhere.
    pub async fn upgrade(&self, path: &[&str], query: &impl Serialize) -> Result<Upgraded, HttpError> {
        let key = tokio_tungstenite::tungstenite::handshake::client::generate_key();
        let request = self.request(Method::GET, path).query(query);
        let request = request.header("connection", "Upgrade").header("upgrade", "websocket");
        let request = request.header("sec-websocket-version", "13").header("sec-websocket-key", key);
        let response = self.respond(request).await?;
        let host = self.host.to_string();
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(HttpError::NotTheApi { host, shown: response.status().to_string() });
        }
        response.upgrade().await.map_err(|error| HttpError::broken_off(&host, &error))
    }

    /// The raw answer of an endpoint that streams.
    pub async fn stream(&self, path: &[&str], query: &impl Serialize) -> Result<Stream, HttpError> {
        let response = self.respond(self.request(Method::GET, path).query(query)).await?;
        Ok(Stream { response, host: self.host.to_string() })
    }

    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let request = self.client.request(method, self.host.endpoint(path));
        match &self.credentials {
            Some(credentials) => request.basic_auth(&credentials.email, Some(&credentials.key)),
            None => request,
        }
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Answer, HttpError> {
        let response = self.respond(request).await?;
        let host = self.host.to_string();
        let body = response.text().await.map_err(|error| HttpError::broken_off(&host, &error))?;
        match serde_json::from_str::<api::Data<Value>>(&body) {
            Ok(answer) => Ok(Answer { data: answer.data }),
            Err(_) if body.trim().is_empty() => Ok(Answer { data: Value::Null }),
            Err(_) => Err(HttpError::NotTheApi { host, shown: shorten(&body) }),
        }
    }

    async fn respond(&self, request: RequestBuilder) -> Result<Response, HttpError> {
        let host = self.host.to_string();
        let sent = request.send().await;
        let response = sent.map_err(|error| match error.is_builder() {
            true => HttpError::Setup(innermost(&error)),
            false => HttpError::Unreachable { host: host.clone(), reason: innermost(&error) },
        })?;
        let status = response.status();
        if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response);
        }
        if status.is_redirection() {
            let location = response.headers().get(reqwest::header::LOCATION);
            let location = location.and_then(|value| value.to_str().ok()).map(shorten);
            return Err(HttpError::Redirected { host, location });
        }
        let body = response.text().await.map_err(|error| HttpError::broken_off(&host, &error))?;
        let (message, understood) = match serde_json::from_str::<api::Errors>(&body) {
            Ok(errors) if !errors.errors.is_empty() => (sentences(&errors), true),
            _ if body.trim().is_empty() => (format!("{host} answered {status}"), false),
            _ => (format!("{host} answered {status}: {}", shorten(&body)), false),
        };
        Err(HttpError::Refused { status, host, message, signed_in: self.credentials.is_some(), understood })
    }
}

impl Answer {
    /// The data as the API's type. Unknown fields do not matter, missing ones do.
    pub fn read<T: DeserializeOwned>(&self, api: &Api) -> Result<T, HttpError> {
        let shown = |error: serde_json::Error| HttpError::NotTheApi {
            host: api.host.to_string(),
            shown: format!("{error} (is the server of another version?)"),
        };
        T::deserialize(&self.data).map_err(shown)
    }
}

/// A streamed answer.
#[derive(Debug)]
pub struct Stream {
    response: Response,
    host: String,
}

impl Stream {
    /// The next bytes, as they come; `None` when the server has ended the stream in good order.
    pub async fn next(&mut self) -> Result<Option<impl AsRef<[u8]> + use<>>, HttpError> {
        self.response.chunk().await.map_err(|error| HttpError::broken_off(&self.host, &error))
    }
}

impl HttpError {
    /// The status, when the server refused.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    fn broken_off(host: &str, error: &reqwest::Error) -> Self {
        Self::BrokenOff { host: host.to_owned(), reason: innermost(error) }
    }
}

impl From<HttpError> for Error {
    fn from(error: HttpError) -> Self {
        let message = error.to_string();
        match error {
            HttpError::Setup(_) => Self::failed(message),
            HttpError::Unreachable { .. } => Self::new(Kind::Unreachable, message).hint(
                "is the server running, and is this the right host? `--host URL` and `GIGALIXIR_HOST` choose another",
            ),
            HttpError::BrokenOff { .. } => Self::new(Kind::Unreachable, message)
                .hint("the server may be starting anew; what was asked for may be done all the same"),
            HttpError::NotTheApi { host, .. } => Self::failed(message).hint(format!(
                "{host} should be the address of the platform's API; `gigalixir login --host URL` sets it"
            )),
            HttpError::Redirected { location: Some(_), .. } => Self::failed(message)
                .hint("redirects are not followed; give the new address with `gigalixir login --host URL`"),
            HttpError::Redirected { .. } => Self::failed(message),
            HttpError::Refused { status, host, signed_in, understood, .. } => {
                refused(message, status, &host, signed_in, understood)
            }
        }
    }
}

fn refused(message: String, status: StatusCode, host: &str, signed_in: bool, understood: bool) -> Error {
    let login = format!("run `gigalixir login --host {host}`");
    let asked = format!("the platform that was asked is {host}");
    // What the server says to do is better than what can be guessed from a status.
    let advised = understood && message.contains("`gigalixir ");
    match status {
        StatusCode::UNAUTHORIZED if !signed_in => Error::new(Kind::Access, format!("you are not signed in to {host}"))
            .hint(format!("{login}; `gigalixir signup --host {host}` makes an account")),
        StatusCode::UNAUTHORIZED if advised => Error::new(Kind::Access, message).hint(asked),
        StatusCode::NOT_FOUND if advised => Error::not_found(message),
        StatusCode::UNAUTHORIZED => Error::new(Kind::Access, message)
            .hint(format!("the key in ~/.netrc is not accepted, it may have expired or been reset: {login}")),
        StatusCode::FORBIDDEN => Error::new(Kind::Access, message),
        // Its own words tell what was looked for, and where to look.
        StatusCode::NOT_FOUND if understood => Error::not_found(message),
        StatusCode::NOT_FOUND => {
            Error::not_found(message).hint(format!("is {host} a gigalixir server, and new enough for this command?"))
        }
        // One that tells that it is stopping, or that nobody is there to be entered, has no more to tell in its log.
        StatusCode::SERVICE_UNAVAILABLE if understood => Error::failed(message),
        status if status.is_server_error() => Error::failed(message).hint("the server's own log tells more"),
        _ => Error::failed(message),
    }
}

/// `{"password": ["is too short"]}` reads "password is too short".
fn sentences(errors: &api::Errors) -> String {
    let lines = errors.errors.iter().flat_map(|(field, messages)| {
        let field = field_name(field);
        messages.iter().map(|message| format!("{field} {message}").trim().to_owned()).collect::<Vec<_>>()
    });
    let text = super::output::visible(&lines.collect::<Vec<_>>().join("\n"));
    if text.trim().is_empty() { "the server refused without saying why".to_owned() } else { text }
}

/// What people call a field of the wire.
fn field_name(field: &str) -> String {
    match field {
        "unique_name" => "name".to_owned(),
        "fqdn" => "domain".to_owned(),
        "configs" => "variables:".to_owned(),
        "next_email" => "new email".to_owned(),
        "tz" => "time zone".to_owned(),
        other => other.replace('_', " "),
    }
}

/// The beginning of a foreign text, in one line and harmless to a terminal.
fn shorten(text: &str) -> String {
    const SHOWN: usize = 160;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut short: String = line.chars().take(SHOWN).collect();
    if line.chars().nth(SHOWN).is_some() {
        short.push('…');
    }
    super::output::visible(&short)
}

/// The cause at the bottom: the layers above only say that something below went wrong.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests;
