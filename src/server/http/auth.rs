//! Who asks: HTTP Basic, e-mail and API key (RFC 7617).
//!
//! Public routes do not take [`SignedIn`], so a stale header from somebody's netrc is never looked at there.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{GeneralPurposeConfig, STANDARD};
use percent_encoding::percent_decode_str;

use super::error::HttpError;
use super::routes::{KEY, PASSWORD, Part, Sheet};
use crate::server::actions::account::{Accounts, Credentials, ShownKey};
use crate::server::domain::User;

/// Some clients leave the padding away.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
);

/// A person with a valid API key. As an extractor it refuses everybody else with 401.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// Who.
    pub user: User,
    /// By which key.
    pub key: ShownKey,
}

impl<S> FromRequestParts<S> for SignedIn
where
    S: Send + Sync,
    Arc<Accounts>: FromRef<S>,
{
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        let (user, key) = Arc::<Accounts>::from_ref(state).authenticate(&basic(&parts.headers)).await?;
        Ok(Self { user, key })
    }
}

/// E-mail address and password as they were given, in the order they should be tried; not yet looked at.
#[derive(Clone)]
pub struct Tried(pub Vec<Credentials>);

impl<S: Send + Sync> FromRequestParts<S> for Tried {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(basic(&parts.headers)))
    }
}

impl Part for Tried {
    fn describe(sheet: &mut Sheet) {
        sheet.needs(PASSWORD);
        sheet.refuses(303, "A second factor is needed too: ask again with `mfa_token`.");
    }
}

impl Part for SignedIn {
    fn describe(sheet: &mut Sheet) {
        sheet.needs(KEY);
    }
}

/// The credentials of a request in the order they should be tried: as they are, then percent-decoded (today's login
/// and the GitHub action encode both halves first). Empty when there are none.
pub fn basic(headers: &HeaderMap) -> Vec<Credentials> {
    let Some(raw) = headers.get(header::AUTHORIZATION).and_then(|value| parse(value.to_str().ok()?)) else {
        return Vec::new();
    };
    let decoded = |text: &str| percent_decode_str(text).decode_utf8().ok().map(|text| text.into_owned());
    let second = match (decoded(&raw.email), decoded(&raw.secret)) {
        (Some(email), Some(secret)) if email != raw.email || secret != raw.secret => {
            Some(Credentials { email, secret })
        }
        _ => None,
    };
    std::iter::once(raw).chain(second).collect()
}

/// Splits at the first `:`; the secret may hold more of them.
fn parse(value: &str) -> Option<Credentials> {
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let encoded = encoded.trim();
    let bytes = STANDARD.decode(encoded).or_else(|_| LENIENT.decode(encoded)).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (email, secret) = text.split_once(':')?;
    Some(Credentials { email: email.to_owned(), secret: secret.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(text: &str) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        let value = format!("Basic {}", STANDARD.encode(text));
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        basic(&headers).into_iter().map(|c| (c.email, c.secret)).collect()
    }

    fn pair(email: &str, secret: &str) -> (String, String) {
        (email.to_owned(), secret.to_owned())
    }

    #[test]
    fn credentials_are_tried_raw_then_decoded() {
        assert_eq!(tried("me@x.org:k:e:y"), [pair("me@x.org", "k:e:y")]);
        assert_eq!(
            tried("foo%2Bx/y%40ex.com:p%3Aa%20ss/%C3%A9%25"),
            [pair("foo%2Bx/y%40ex.com", "p%3Aa%20ss/%C3%A9%25"), pair("foo+x/y@ex.com", "p:a ss/é%")]
        );
        assert_eq!(tried("me@x.org:50%"), [pair("me@x.org", "50%")]);
        assert_eq!(tried("me@x.org:%ff"), [pair("me@x.org", "%ff")], "not UTF-8 when decoded");
    }

    #[test]
    fn what_is_no_basic_header_is_no_credential() {
        for value in ["", "Basic", "Basic !!!", "Bearer abc", "Basic bm9jb2xvbg=="] {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            assert!(basic(&headers).is_empty(), "{value}");
        }
        assert!(basic(&HeaderMap::new()).is_empty());
        let mut unpadded = HeaderMap::new();
        unpadded.insert(header::AUTHORIZATION, "basic YTpi".parse().unwrap());
        assert_eq!(basic(&unpadded).len(), 1, "the scheme's case does not matter");
    }
}
