//! Which headers end at a hop (RFC 9110 7.6.1). Pure.

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
/// CGI-like apps would read it as the variable `HTTP_PROXY` and send their own requests there.
const PROXY: HeaderName = HeaderName::from_static("proxy");

/// Takes the hop's own headers off a request. Framing is written anew by whoever sends it on; what the app may know of
/// it stays: that the client reads trailers, and which ones it will send. `Expect: 100-continue` is ours to answer:
/// the client is told to go on when a backend has accepted the connection and its body is wanted.
pub(super) fn strip_request(headers: &mut HeaderMap) {
    let trailers = headers.get_all(TE).iter().any(|value| has_token(value, "trailers"));
    strip_hop_by_hop(headers);
    for name in [PROXY_AUTHORIZATION, HTTP2_SETTINGS, PROXY] {
        headers.remove(name);
    }
    if headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        headers.remove(EXPECT);
    }
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// HTTP/2 may send cookies one by one; HTTP/1.1 has one line for all (RFC 9113 8.2.3).
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_some() {
        let all: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
        if let Ok(one) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
            headers.insert(COOKIE, one);
        }
    }
}

/// Takes the hop's own headers off an answer.
pub(super) fn strip_response(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    headers.remove(PROXY_AUTHENTICATE);
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    for name in named_in_connection(headers) {
        headers.remove(name);
    }
    for name in [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TE, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
}

/// What `Connection` names besides the usual; the headers a message cannot do without are never among them.
fn named_in_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let usual = |token: &str| {
        ["", "keep-alive", "close", "upgrade", "te"].iter().any(|known| token.eq_ignore_ascii_case(known))
    };
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(tokens)
        .filter(|token| !usual(token))
        .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
        .filter(|name| ![HOST, CONTENT_LENGTH, TRAILER].contains(name))
        .collect()
}

/// The protocol a client asks to change to, if it does so properly. Never `h2c`: a tunnel to an app that speaks it
/// would carry requests we do not see.
pub(super) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let wanted = headers.get(UPGRADE)?;
    let asked = headers.get_all(CONNECTION).iter().any(|value| has_token(value, "upgrade"));
    (asked && !has_token(wanted, "h2c")).then(|| wanted.clone())
}

fn has_token(value: &HeaderValue, wanted: &str) -> bool {
    tokens(value).any(|token| token.eq_ignore_ascii_case(wanted))
}

fn tokens(value: &HeaderValue) -> impl Iterator<Item = &str> {
    value.to_str().unwrap_or_default().split(',').map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_hops_headers_end_at_the_hop() {
        let mut headers = map(&[
            ("connection", "keep-alive, X-Private"),
            ("connection", "x-other, host, content-length"),
            ("x-private", "1"),
            ("x-other", "1"),
            ("host", "a"),
            ("content-length", "3"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic x"),
            ("proxy", "http://evil"),
            ("te", "gzip, trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "x"),
            ("expect", "100-Continue"),
            ("trailer", "x-sum"),
            ("accept", "*/*"),
        ]);
        strip_request(&mut headers);
        let mut left: Vec<_> = headers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
        left.sort();
        assert_eq!(left, ["accept: */*", "content-length: 3", "host: a", "te: trailers", "trailer: x-sum"]);
    }

    #[test]
    fn only_proper_upgrades_count() {
        assert_eq!(
            upgrade(&map(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")])).unwrap(),
            "websocket"
        );
        for headers in [
            map(&[("upgrade", "websocket")]),
            map(&[("connection", "upgrade")]),
            map(&[("connection", "upgrade, http2-settings"), ("upgrade", "h2c")]),
            map(&[("connection", "upgrade"), ("upgrade", "websocket, h2c")]),
        ] {
            assert_eq!(upgrade(&headers), None);
        }
    }
}
