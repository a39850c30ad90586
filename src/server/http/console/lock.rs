//! The lock of the console's door: a cookie says who asks, a token that only the console's own pages can read says that it is
//! really they who ask.
//!
//! Apps are neighbours below the platform's own domain, "same-site" to browsers: a page of theirs can have a visitor's browser
//! send requests here, cookies and all, and set cookies for the whole domain. So a request that a browser says comes from
//! another origin is refused whatever it asks for, and where TLS is used the cookies have names that no neighbour can set
//! (`__Host-`, RFC 6265bis 4.1.3.2).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, COOKIE, HOST, HeaderName, ORIGIN, SET_COOKIE, UPGRADE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cookie::SameSite;
use cookie::time::Duration;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::server::actions::account::Accounts;
use crate::server::actions::sessions::SESSION_LIFE;
use crate::server::http::error::HttpError;

/// Where a page sends its token.
const TOKEN: HeaderName = HeaderName::from_static("x-csrf-token");
/// What browsers say of where a request comes from.
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Lets in what the console's own pages ask, as if it had been asked with the key in the cookie.
pub(super) async fn unlock(
    State(accounts): State<Arc<Accounts>>,
    mut request: Request,
    next: Next,
) -> Result<Response, HttpError> {
    let refuse = |message: &str| Err(HttpError::new(StatusCode::FORBIDDEN, "", message));
    let headers = request.headers();
    if is_foreign(headers, request.uri()) {
        return refuse("this is not for pages of other origins: the API is at /api, with a key");
    }
    if headers.contains_key(UPGRADE) {
        return refuse("this door speaks no WebSocket: the API at /api does");
    }
    let (secure, reads) = (accounts.secure(), matches!(*request.method(), Method::GET | Method::HEAD));
    if !reads && !has_token(headers, secure) {
        return refuse("X-CSRF-Token is missing or not of this browser: GET /frontend/api/csrf gives it");
    }
    let session = Cookie::Session.brought(headers, secure).and_then(|cookie| accounts.session(&cookie));
    request.headers_mut().remove(AUTHORIZATION);
    if let Some(found) = session {
        let basic = format!("Basic {}", STANDARD.encode(format!("{}:{}", found.email, found.secret)));
        if let Ok(basic) = HeaderValue::try_from(basic) {
            request.headers_mut().insert(AUTHORIZATION, basic);
        }
    }
    Ok(next.run(request).await)
}

/// Whether the browser says that somebody else's page asks. Who is no browser says nothing, and has no cookie either.
fn is_foreign(headers: &HeaderMap, uri: &Uri) -> bool {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if text(SITE).is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return true;
    }
    let host = text(HOST).or_else(|| uri.authority().map(|authority| authority.as_str()));
    text(ORIGIN).is_some_and(|origin| origin.split_once("://").map(|(_, host)| host) != host)
}

fn has_token(headers: &HeaderMap, secure: bool) -> bool {
    let Some(seed) = Cookie::Seed.brought(headers, secure) else { return false };
    let sent = headers.get(TOKEN).map(HeaderValue::as_bytes).unwrap_or_default();
    bool::from(token(&seed).as_bytes().ct_eq(sent))
}

/// What a browser gets that has no seed yet.
pub(super) fn new_seed() -> String {
    hex::encode(rand::random::<[u8; 32]>())
}

/// A browser's token: who cannot read its seed cannot make it.
pub(super) fn token(seed: &str) -> String {
    hex::encode(Sha256::digest(format!("csrf {seed}")))
}

/// The two cookies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cookie {
    /// Of which the token is made; until the browser is closed.
    Seed,
    /// Who it is.
    Session,
}

impl Cookie {
    fn name(self, secure: bool) -> String {
        let name = match self {
            Self::Seed => "gigalixir_csrf",
            Self::Session => "gigalixir_session",
        };
        if secure { format!("__Host-{name}") } else { name.to_owned() }
    }

    /// The one that a browser brings.
    pub(super) fn brought(self, headers: &HeaderMap, secure: bool) -> Option<String> {
        let wanted = self.name(secure);
        let lines = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut cookies = lines.flat_map(cookie::Cookie::split_parse).flatten();
        cookies.find(|cookie| cookie.name() == wanted).map(|cookie| cookie.value().to_owned())
    }

    /// One for a browser; its value is letters, digits, `-` and `_`.
    pub(super) fn given(self, value: &str, secure: bool) -> (HeaderName, String) {
        let life = match self {
            Self::Seed => None,
            Self::Session => Some(Duration::seconds(SESSION_LIFE.as_secs())),
        };
        self.line(value, life, secure)
    }

    /// None any more.
    pub(super) fn taken(self, secure: bool) -> (HeaderName, String) {
        self.line("", Some(Duration::ZERO), secure)
    }

    fn line(self, value: &str, life: Option<Duration>, secure: bool) -> (HeaderName, String) {
        let mut cookie = cookie::Cookie::new(self.name(secure), value);
        cookie.set_path("/");
        cookie.set_http_only(true);
        cookie.set_same_site(SameSite::Strict);
        cookie.set_secure(secure);
        cookie.set_max_age(life);
        (SET_COOKIE, cookie.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn pages_of_others_are_told_from_ones_own() {
        let foreign = |pairs: &[(&str, &str)]| is_foreign(&headers(pairs), &Uri::from_static("/"));
        let host = ("host", "api.example.com:4000");
        assert!(!foreign(&[host]), "curl");
        assert!(!foreign(&[host, ("origin", "http://api.example.com:4000"), ("sec-fetch-site", "same-origin")]));
        assert!(!foreign(&[host, ("sec-fetch-site", "none")]), "typed by a person");
        assert!(foreign(&[host, ("sec-fetch-site", "same-site")]), "an app below the same domain");
        assert!(foreign(&[host, ("origin", "http://shop.example.com:4000")]));
        assert!(foreign(&[host, ("origin", "null")]), "a sandboxed frame");
    }

    #[test]
    fn a_token_is_of_one_browser() {
        let seed = new_seed();
        let with =
            |cookie: &str, token: &str| has_token(&headers(&[("cookie", cookie), ("x-csrf-token", token)]), false);
        let cookie = format!("a=b; gigalixir_csrf={seed}");
        assert!(with(&cookie, &token(&seed)));
        assert!(!with(&cookie, &token(&new_seed())));
        assert!(!with(&cookie, ""));
        assert!(!with("a=b", &token(&seed)));
        assert!(!with("gigalixir_csrf=", &token(&seed)));
    }

    #[test]
    fn over_tls_no_neighbour_can_set_them() {
        let (_, line) = Cookie::Session.given("x", true);
        assert!(line.starts_with("__Host-gigalixir_session=x; ") && line.contains("; Path=/;"), "{line}");
        assert!(line.contains("; Secure"), "{line}");
        let plain = headers(&[("cookie", "gigalixir_session=x")]);
        assert_eq!(Cookie::Session.brought(&plain, true), None);
        assert_eq!(Cookie::Session.brought(&plain, false), Some("x".to_owned()));
    }
}
