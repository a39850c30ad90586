//! Changes of protocol that visitors ask for: by `Upgrade` over HTTP/1.1 (RFC 9110 7.8), and for a WebSocket over HTTP/2 by
//! an extended CONNECT (RFC 8441). Apps are asked by the former, whatever the visitor speaks; what is said in an
//! HTTP/1.1 handshake and not in the other one, the key and its answer, is ours to say and to check.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::bodies::AnswerBody;
use super::forward::Taken;
use super::listen::Client;
use super::pages::Page;
use super::traffic::Visit;
use super::{headers, tunnel};

/// What a visitor asks for.
pub(super) struct Switch {
    protocol: HeaderValue,
    visitor: OnUpgrade,
    /// Of an extended CONNECT.
    key: Option<String>,
}

/// Whether it is a WebSocket's handshake over HTTP/2.
pub(super) fn is_extended(request: &Request<Incoming>) -> bool {
    let asked = request.extensions().get::<Protocol>();
    request.method() == Method::CONNECT && asked.is_some_and(|protocol| protocol.as_str() == "websocket")
}

impl Switch {
    /// What this request asks for, if it does.
    pub(super) fn asked(request: &mut Request<Incoming>) -> Option<Self> {
        let (protocol, key) = if is_extended(request) {
            (HeaderValue::from_static("websocket"), Some(BASE64_STANDARD.encode(rand::random::<[u8; 16]>())))
        } else if request.version() == Version::HTTP_11 {
            (headers::upgrade(request.headers())?, None)
        } else {
            return None;
        };
        Some(Self { protocol, visitor: hyper::upgrade::on(request), key })
    }

    /// Has the app asked for it. The hop's own headers have been taken off.
    pub(super) fn ask(&self, head: &mut Parts) {
        head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        head.headers.insert(UPGRADE, self.protocol.clone());
        if let Some(key) = self.key.as_ref().and_then(|key| HeaderValue::from_str(key).ok()) {
            head.method = Method::GET;
            head.headers.insert(SEC_WEBSOCKET_KEY, key);
        }
    }

    /// Whether an answer that changes nothing would be taken for one that does.
    pub(super) fn would_be_misread(&self, status: StatusCode) -> bool {
        self.key.is_some() && status.is_success()
    }

    /// The app changes protocols: the rest of both connections (or of the visitor's stream) is a tunnel.
    pub(super) fn go(
        self,
        client: &Arc<Client>,
        taken: Taken,
        visit: &mut Option<Visit>,
    ) -> Result<Response<AnswerBody>, Page> {
        let Taken { response, link, lease } = taken;
        let protocol = response.headers().get(UPGRADE).cloned().ok_or(Page::NoAnswer)?;
        let accepted = |key: &String| {
            response
                .headers()
                .get(SEC_WEBSOCKET_ACCEPT)
                .is_some_and(|accept| accept == &*derive_accept_key(key.as_bytes()))
        };
        if !self.key.as_ref().is_none_or(accepted) {
            return Err(Page::NoAnswer);
        }
        let Some(mut visit) = visit.take() else { return Err(Page::NoAnswer) };
        visit.switched();
        let (kept, visitor) = (Arc::clone(client), self.visitor);
        client.shared.tasks.spawn(async move {
            // A connection with a WebSocket among its streams is not idle.
            let _asked = kept.activity.asked();
            let idle = kept.shared.config.tunnel_idle_timeout;
            let ended = tokio::select! {
                ended = tunnel::run(visitor, link, idle, &visit) => ended,
                () = kept.shared.abort.cancelled() => Ok(()),
            };
            if let Err(error) = ended {
                tracing::debug!(backend = lease.name(), %error, "a tunnel ended early");
            }
            drop(lease);
        });
        let (mut head, _) = response.into_parts();
        headers::strip_response(&mut head.headers);
        if self.key.is_some() {
            head.status = StatusCode::OK;
            head.headers.remove(SEC_WEBSOCKET_ACCEPT);
        } else {
            head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            head.headers.insert(UPGRADE, protocol);
        }
        Ok(Response::from_parts(head, AnswerBody::page(Bytes::new(), Arc::clone(&client.activity))))
    }
}
