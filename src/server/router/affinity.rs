//! Browsers that come to the same replica again: a cookie names it, as long as it is there. Pure.
//!
//! The name in the cookie is a hash: it tells nobody what replicas are called, and one that was made up leads nowhere.

use std::hash::{DefaultHasher, Hash, Hasher};

use cookie::{Cookie, SameSite};
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

const NAME: &str = "gigalixir_replica";

/// A replica's name in cookies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag(u64);

impl Tag {
    pub(super) fn of(replica: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        replica.hash(&mut hasher);
        Self(hasher.finish())
    }

    /// The one a browser brings.
    pub(super) fn brought(headers: &HeaderMap) -> Option<Self> {
        let lines = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut ours = lines.flat_map(Cookie::split_parse).flatten().filter(|cookie| cookie.name() == NAME);
        ours.find_map(|cookie| u64::from_str_radix(cookie.value(), 16).ok()).map(Self)
    }

    /// What a browser is given, until it is closed.
    pub(super) fn cookie(self, secure: bool) -> Option<HeaderValue> {
        let mut cookie = Cookie::new(NAME, format!("{:016x}", self.0));
        cookie.set_path("/");
        cookie.set_http_only(true);
        cookie.set_same_site(SameSite::Lax);
        cookie.set_secure(secure);
        HeaderValue::try_from(cookie.to_string()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brought(cookies: &[&'static str]) -> Option<Tag> {
        let mut headers = HeaderMap::new();
        cookies.iter().for_each(|text| _ = headers.append(COOKIE, HeaderValue::from_static(text)));
        Tag::brought(&headers)
    }

    #[test]
    fn what_was_given_is_recognised() {
        let tag = Tag::of("hill-web-3-1");
        let cookie = tag.cookie(true).unwrap();
        let text = cookie.to_str().unwrap();
        assert!(text.contains("; Secure") && !tag.cookie(false).unwrap().to_str().unwrap().contains("Secure"));
        let pair: &'static str = Box::leak(text.split(';').next().unwrap().to_owned().into_boxed_str());
        assert_eq!(brought(&["a=1; b=2", pair]), Some(tag));
        assert_ne!(Tag::of("hill-web-3-2"), tag);
        for odd in
            ["gigalixir_replica", "gigalixir_replica=", "gigalixir_replica=hill-web-3-1", "x_gigalixir_replica=1"]
        {
            assert_eq!(brought(&[odd]), None, "{odd}");
        }
    }
}
