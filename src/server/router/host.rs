//! Which host a request is for (RFC 9110 7.2, RFC 9112 3.2). Pure.

use std::borrow::Cow;

use http::header::HOST;
use http::{HeaderMap, Uri};

/// What the request addresses, as sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// Lower case, without port and trailing dot.
    pub host: Cow<'a, str>,
    /// The port, if one was named.
    pub port: Option<&'a str>,
}

/// Reads the host of a request. An absolute-form target wins over `Host`. The error says what is wrong.
pub(super) fn target<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Result<Target<'a>, &'static str> {
    let mut hosts = headers.get_all(HOST).iter();
    let header = hosts.next();
    if hosts.next().is_some() {
        return Err("The request has more than one Host header.");
    }
    match (uri.authority(), header) {
        (Some(authority), _) => parse(authority.as_str()),
        (None, Some(value)) => parse(value.to_str().map_err(|_| INVALID)?),
        (None, None) => Err("The request has no Host header."),
    }
}

const INVALID: &str = "The request's Host header is not a host name.";

/// Reads the value of a `Host` header.
pub(super) fn parse(text: &str) -> Result<Target<'_>, &'static str> {
    let (host, port) = split(text).ok_or(INVALID)?;
    if port.is_some_and(|port| port.parse::<u16>().is_err() || port.starts_with('+')) {
        return Err(INVALID);
    }
    let host = if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    };
    Ok(Target { host, port })
}

fn split(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        address.parse::<std::net::Ipv6Addr>().ok()?;
        let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
        return Some((address, port));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let fits = !host.is_empty() && host.len() <= 253 && !host.starts_with('.') && !host.ends_with('.');
    (fits && host.bytes().all(allowed)).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(host: &str) -> Result<(String, Option<String>), &'static str> {
        parse(host).map(|target| (target.host.into_owned(), target.port.map(str::to_owned)))
    }

    #[test]
    fn hosts_are_normalised() {
        for (text, host, port) in [
            ("shop.example", "shop.example", None),
            ("SHOP.Example:8080", "shop.example", Some("8080")),
            ("shop.example.", "shop.example", None),
            ("shop.example.:80", "shop.example", Some("80")),
            ("127.0.0.1:8080", "127.0.0.1", Some("8080")),
            ("[::1]:8080", "::1", Some("8080")),
            ("a_b.example", "a_b.example", None),
        ] {
            assert_eq!(of(text), Ok((host.to_owned(), port.map(str::to_owned))), "{text}");
        }
    }

    #[test]
    fn nonsense_is_no_host() {
        let long = format!("{}.example", "a".repeat(260));
        for text in [
            "", ".", "..", ":80", "a:b", "a:99999", "a:+1", "a:", "a b", "a/b", "user@a", "a,b", "a\\b", "[::1", "[x]",
            "[::1]x", "a:80:80", "ä", ".a", "a..", "a%00", &long,
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_request_line_wins_and_two_hosts_are_refused() {
        let mut headers = HeaderMap::new();
        assert!(target(&Uri::from_static("/x"), &headers).is_err());
        headers.append(HOST, "b.example".parse().unwrap());
        let absolute = Uri::from_static("http://A.example:81/x");
        assert_eq!(target(&absolute, &headers).unwrap(), Target { host: "a.example".into(), port: Some("81") });
        assert_eq!(target(&Uri::from_static("/x"), &headers).unwrap().host, "b.example");
        headers.append(HOST, "b.example".parse().unwrap());
        assert!(target(&Uri::from_static("/x"), &headers).is_err());
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_accepted_is_harmless(text in "\\PC{0,40}") {
            if let Ok(target) = parse(&text) {
                proptest::prop_assert!(target.host.bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase()));
                proptest::prop_assert!(!target.host.contains(['/', '@', '<', '>', '"', '\'', '&']));
            }
        }
    }
}
