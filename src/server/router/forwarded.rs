//! What an app is told about the client behind us: `X-Forwarded-*`, `Forwarded` (RFC 7239), `X-Request-Id`,
//! `X-Request-Start`.
//!
//! A client's own claims are replaced, a trusted proxy's are continued. A trusted proxy that writes `X-Forwarded-For` and
//! no `Forwarded` gets none from us either: the two would contradict each other. `Via` is not written: some frameworks
//! switch compression off when they see it.

use std::net::IpAddr;
use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use uuid::Uuid;

const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
/// Names a request through all logs.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_START: HeaderName = HeaderName::from_static("x-request-start");
/// Other names under which libraries look for the client's address.
const ALIASES: [HeaderName; 2] = [HeaderName::from_static("x-real-ip"), HeaderName::from_static("x-client-ip")];

/// Who is at the other end of a client connection; worked out once per connection.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    address: HeaderValue,
    /// As an element of `Forwarded`, without the host.
    element: String,
    trusted: bool,
    secure: bool,
}

impl Peer {
    /// `secure`: the client reached us over TLS.
    pub(super) fn new(address: IpAddr, secure: bool, trusted_proxies: &[IpNet]) -> Self {
        let address = address.to_canonical();
        let value = HeaderValue::try_from(address.to_string());
        let scheme = if secure { "https" } else { "http" };
        let element = match address {
            IpAddr::V4(four) => format!("for={four};proto={scheme}"),
            IpAddr::V6(six) => format!("for=\"[{six}]\";proto={scheme}"),
        };
        Self {
            element,
            address: value.unwrap_or_else(|_| HeaderValue::from_static("unknown")),
            trusted: trusted_proxies.iter().any(|network| network.contains(&address)),
            secure,
        }
    }

    /// Whether the connection to us is over TLS.
    pub(super) fn is_over_tls(&self) -> bool {
        self.secure
    }

    /// Whether its claims are believed.
    pub(super) fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// As `X-Forwarded-For` names it.
    pub(super) fn address(&self) -> &[u8] {
        self.address.as_bytes()
    }

    /// As an element of `Forwarded`, without the host.
    pub(super) fn element(&self) -> &[u8] {
        self.element.as_bytes()
    }

    /// Whether the visitor's own connection is over TLS: to us, or to a proxy that we trust.
    pub(super) fn is_secure(&self, headers: &HeaderMap) -> bool {
        let said = || headers.get(PROTO).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"https"));
        self.secure || self.trusted && said()
    }

    /// Where the visitor is, as far as we believe it.
    pub(super) fn visitor(&self, headers: &HeaderMap) -> String {
        self.chain(headers).to_str().unwrap_or_default().to_owned()
    }

    /// Writes what the app shall know. `host` is the `Host` header as sent, `port` the one it names.
    pub(super) fn tell(
        &self,
        headers: &mut HeaderMap,
        host: &HeaderValue,
        port: Option<&str>,
        request_id: &HeaderValue,
    ) {
        drop_look_alikes(headers);
        if !self.trusted {
            ALIASES.iter().for_each(|name| _ = headers.remove(name));
        }
        self.tell_forwarded(headers, host);
        headers.insert(FOR, self.chain(headers));
        let believed = |name| self.trusted && headers.get(name).is_some_and(|value| !value.is_empty());
        let (keep_proto, keep_host, keep_port) = (believed(&PROTO), believed(&HOST), believed(&PORT));
        if !keep_proto {
            headers.insert(PROTO, HeaderValue::from_static(if self.secure { "https" } else { "http" }));
        }
        if !keep_host {
            headers.insert(HOST, host.clone());
        }
        if !keep_port {
            let usual = HeaderValue::from_static(if self.secure { "443" } else { "80" });
            headers.insert(PORT, port.and_then(|port| HeaderValue::from_str(port).ok()).unwrap_or(usual));
        }
        headers.insert(REQUEST_ID, request_id.clone());
        if !(self.trusted && headers.contains_key(REQUEST_START)) {
            headers.insert(REQUEST_START, HeaderValue::from(milliseconds()));
        }
    }

    fn tell_forwarded(&self, headers: &mut HeaderMap, host: &HeaderValue) {
        let told = self.trusted && headers.contains_key(FORWARDED);
        if self.trusted && !told && headers.contains_key(FOR) {
            return;
        }
        let mut value = bytes::BytesMut::new();
        for before in headers.get_all(FORWARDED).iter().filter(|_| told) {
            value.extend_from_slice(before.as_bytes());
            value.extend_from_slice(b", ");
        }
        value.extend_from_slice(self.element.as_bytes());
        // A host has been parsed by now and has nothing in it that would end the quotes.
        for part in [b";host=\"", host.as_bytes(), b"\""] {
            value.extend_from_slice(part);
        }
        match HeaderValue::from_maybe_shared(value.freeze()) {
            Ok(value) => _ = headers.insert(FORWARDED, value),
            Err(_) => _ = headers.remove(FORWARDED),
        }
    }

    fn chain(&self, headers: &HeaderMap) -> HeaderValue {
        if !self.trusted || !headers.contains_key(FOR) {
            return self.address.clone();
        }
        let mut chain = Vec::new();
        for value in headers.get_all(FOR) {
            chain.extend_from_slice(value.as_bytes());
            chain.extend_from_slice(b", ");
        }
        chain.extend_from_slice(self.address.as_bytes());
        HeaderValue::from_maybe_shared(bytes::Bytes::from(chain)).unwrap_or_else(|_| self.address.clone())
    }
}

/// `X_Forwarded_For` and the like: to a CGI-like app the same variable as ours.
fn drop_look_alikes(headers: &mut HeaderMap) {
    let ours = |name: &HeaderName| {
        let text = name.as_str();
        text.contains('_') && {
            let text = text.replace('_', "-");
            text.starts_with("x-forwarded-")
                || text.starts_with("x-request-")
                || text == "x-real-ip"
                || text == "x-client-ip"
        }
    };
    let found: Vec<HeaderName> = headers.keys().filter(|name| ours(name)).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

/// The client's request id if it is fit for logs and pages (1 to 128 of `A-Z a-z 0-9 . _ : = + / -`), else a new UUID v7.
pub(super) fn request_id(headers: &HeaderMap) -> HeaderValue {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:=+/-".contains(&byte);
    let fit = |value: &&HeaderValue| (1..=128).contains(&value.len()) && value.as_bytes().iter().all(|b| allowed(*b));
    headers.get(REQUEST_ID).filter(fit).cloned().unwrap_or_else(new_request_id)
}

/// One that nobody has yet.
pub(super) fn new_request_id() -> HeaderValue {
    let random = rand::random::<[u8; 10]>();
    let id = uuid::Builder::from_unix_timestamp_millis(milliseconds(), &random).into_uuid();
    let mut text = Uuid::encode_buffer();
    HeaderValue::from_str(id.hyphenated().encode_lower(&mut text)).unwrap_or(HeaderValue::from_static("-"))
}

/// Milliseconds since 1970.
pub(super) fn milliseconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(trusted: &str, lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let networks: Vec<IpNet> = trusted.split_whitespace().map(|network| network.parse().unwrap()).collect();
        let peer = Peer::new("::ffff:10.0.0.7".parse().unwrap(), false, &networks);
        let id = request_id(&headers);
        peer.tell(&mut headers, &HeaderValue::from_static("Shop.example:8080"), Some("8080"), &id);
        headers
    }

    const CLAIMS: &[(&str, &str)] = &[
        ("x-forwarded-for", "1.1.1.1"),
        ("x-forwarded-for", "2.2.2.2"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-port", "443"),
        ("x-real-ip", "1.1.1.1"),
        ("x_forwarded_for", "1.1.1.1"),
        ("forwarded", "for=1.1.1.1"),
    ];

    #[test]
    fn a_strangers_claims_are_replaced() {
        let headers = told("192.168.0.0/16", CLAIMS);
        assert_eq!(headers["x-forwarded-for"], "10.0.0.7");
        assert_eq!(headers.get_all("x-forwarded-for").iter().count(), 1);
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(headers["x-forwarded-host"], "Shop.example:8080");
        assert_eq!(headers["x-forwarded-port"], "8080");
        assert_eq!(headers["forwarded"], "for=10.0.0.7;proto=http;host=\"Shop.example:8080\"");
        for gone in ["x-real-ip", "x_forwarded_for"] {
            assert!(!headers.contains_key(gone), "{gone}");
        }
        let start: u64 = headers["x-request-start"].to_str().unwrap().parse().unwrap();
        assert!(start > 1_700_000_000_000);
    }

    #[test]
    fn a_trusted_proxys_are_continued() {
        let headers = told("10.0.0.0/8", CLAIMS);
        assert_eq!(headers["x-forwarded-for"], "1.1.1.1, 2.2.2.2, 10.0.0.7");
        assert_eq!(headers["x-forwarded-proto"], "https");
        assert_eq!(headers["x-forwarded-host"], "evil.example");
        assert_eq!(headers["x-forwarded-port"], "443");
        let ours = "for=10.0.0.7;proto=http;host=\"Shop.example:8080\"";
        assert_eq!(headers["forwarded"], format!("for=1.1.1.1, {ours}"));
        assert!(!told("10.0.0.0/8", &CLAIMS[..3]).contains_key("forwarded"), "it would contradict");
        assert_eq!(told("10.0.0.0/8", &[])["forwarded"], ours);
    }

    #[test]
    fn request_ids_are_kept_when_fit() {
        assert_eq!(told("", &[("x-request-id", "abc-123")])["x-request-id"], "abc-123");
        let long = Box::leak("x".repeat(129).into_boxed_str());
        for unfit in ["", "a b", "<script>", "a\"b", long] {
            let made = told("", &[("x-request-id", unfit)])["x-request-id"].to_str().unwrap().to_owned();
            assert_eq!(Uuid::parse_str(&made).unwrap().get_version_num(), 7, "{unfit}");
        }
    }
}
