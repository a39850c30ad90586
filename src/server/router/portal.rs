//! What is answered in front of the apps: a CA's questions, the platform's own files, plain visitors who are sent to
//! https. The router asks; whoever keeps the certificates knows.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION, STRICT_TRANSPORT_SECURITY};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};

use super::Shared;
use super::forwarded::Peer;

/// Whoever keeps the certificates.
pub trait Portal: Send + Sync + 'static {
    /// A file of the platform's own at this host and path: its content type and its bytes.
    fn file(&self, host: &str, path: &str) -> Option<(&'static str, Bytes)>;
    /// The port of https, if plain visitors of this host are sent there.
    fn https_port(&self, host: &str) -> Option<u16>;
    /// Whether the host is served by somebody else on the same address.
    fn is_elsewhere(&self, host: &str) -> bool;
    /// Said to visitors over TLS, if anything.
    fn strict_transport_security(&self) -> Option<HeaderValue>;
}

/// Where every path of a platform's own begins; all others cost one comparison.
const OWN_PATHS: [&str; 2] = ["/.well-known/acme-challenge/", "/ca.pem"];

impl Shared {
    /// The answer that needs no app, if there is one.
    pub(super) fn in_front<B>(&self, request: &Request<B>, host: &str, peer: &Peer) -> Option<Response<Bytes>> {
        let portal = self.portal.as_ref()?;
        let path = request.uri().path();
        if OWN_PATHS.iter().any(|own| path.starts_with(own))
            && let Some((kind, bytes)) = portal.file(host, path)
        {
            let mut response = Response::new(bytes);
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            return Some(response);
        }
        if peer.is_secure(request.headers()) {
            return None;
        }
        let port = portal.https_port(host)?;
        let port = if port == 443 { String::new() } else { format!(":{port}") };
        redirect("https", host, &port, request.uri())
    }

    /// Whether there is certainly none.
    pub(super) fn lets_through(&self, host: &str, path: &str, secure: bool) -> bool {
        let Some(portal) = &self.portal else { return true };
        !OWN_PATHS.iter().any(|own| path.starts_with(own)) && (secure || portal.https_port(host).is_none())
    }

    /// Whether a request came over the wrong connection: browsers use one for all hosts of a certificate.
    pub(super) fn is_misdirected(&self, host: &str) -> bool {
        self.portal.as_ref().is_some_and(|portal| portal.is_elsewhere(host))
    }

    /// What has browsers keep to https, if they shall.
    pub(super) fn hardening(&self) -> Option<HeaderValue> {
        self.portal.as_ref().and_then(|portal| portal.strict_transport_security())
    }

    /// Has browsers keep to https.
    pub(super) fn harden(&self, headers: &mut HeaderMap) {
        if let Some(value) = self.hardening() {
            headers.entry(STRICT_TRANSPORT_SECURITY).or_insert(value);
        }
    }
}

/// The same page at another host; 308 keeps the method and the body. `port` has its colon, if there is one.
pub(super) fn redirect(scheme: &str, host: &str, port: &str, uri: &Uri) -> Option<Response<Bytes>> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    let location = HeaderValue::try_from(format!("{scheme}://{host}{port}{path}")).ok()?;
    response.headers_mut().insert(LOCATION, location);
    Some(response)
}
