//! Connections and requests. Whoever is not a replica with its app's key learns nothing but that.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use subtle::ConstantTimeEq as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::Members;
use super::answers::{self, refusal};
use super::selector::Selector;
use crate::server::domain::AppName;

/// Connections at a time; more wait in the socket's queue.
const CONNECTIONS: usize = 512;
/// For the handshake, for the headers of a request, and between two requests.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn serve(
    listeners: Vec<TcpListener>,
    acceptor: TlsAcceptor,
    members: Arc<dyn Members>,
    closed: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let accepting = listeners.into_iter().map(|listener| accept(listener, &acceptor, &members, &places, &closed));
    futures_util::future::join_all(accepting).await;
}

async fn accept(
    listener: TcpListener,
    acceptor: &TlsAcceptor,
    members: &Arc<dyn Members>,
    places: &Arc<Semaphore>,
    closed: &CancellationToken,
) {
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            () = closed.cancelled() => return,
        };
        let Ok((stream, _)) = accepted else {
            // No file descriptors left, most likely.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (acceptor, members, closed) = (acceptor.clone(), members.clone(), closed.clone());
        tokio::spawn(async move {
            let _place = place;
            tokio::select! {
                () = attend(stream, acceptor, members) => {}
                () = closed.cancelled() => {}
            }
        });
    }
}

async fn attend(stream: TcpStream, acceptor: TlsAcceptor, members: Arc<dyn Members>) {
    let Ok(Ok(stream)) = timeout(PATIENCE, acceptor.accept(stream)).await else { return };
    let service = service_fn(move |request| {
        let members = members.clone();
        async move { Ok::<_, Infallible>(answer(&request, &*members).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!("a replica's connection to the cluster directory ended: {error}");
    }
}

async fn answer(request: &Request<Incoming>, members: &dyn Members) -> Response<Full<Bytes>> {
    let (status, value) = match decide(request.method(), request.uri(), request.headers(), members).await {
        Ok(list) => (StatusCode::OK, list),
        Err((status, reason, message)) => (status, refusal(status.as_u16(), reason, &message)),
    };
    let mut response = Response::new(Full::new(Bytes::from(value.to_string())));
    *response.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

type Refusal = (StatusCode, &'static str, String);

async fn decide(
    method: &Method,
    uri: &http::Uri,
    headers: &HeaderMap,
    members: &dyn Members,
) -> Result<Value, Refusal> {
    let Some((namespace, kind)) = answers::asked(uri.path()) else {
        return Err((
            StatusCode::NOT_FOUND,
            "NotFound",
            "only endpoints and pods of a namespace are served here".into(),
        ));
    };
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(token) = bearer.and_then(|value| value.strip_prefix("Bearer ")).filter(|token| !token.is_empty()) else {
        return Err((StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized".into()));
    };
    let forbidden = || {
        let text = format!("this token cannot list anything in the namespace \"{}\"", namespace.escape_debug());
        (StatusCode::FORBIDDEN, "Forbidden", text)
    };
    let app = AppName::parse(namespace).map_err(|_| forbidden())?;
    let key = members.key(&app).await.ok_or_else(forbidden)?;
    if !bool::from(key.as_bytes().ct_eq(token.trim().as_bytes())) {
        return Err(forbidden());
    }
    if method != Method::GET {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "this can only be read".into()));
    }
    let selector = label_selector(uri.query().unwrap_or_default())
        .ok_or_else(|| (StatusCode::BAD_REQUEST, "BadRequest", "the labelSelector cannot be read".into()))?;
    Ok(answers::list(kind, app.as_str(), &members.ready(&app), &selector))
}

fn label_selector(query: &str) -> Option<Selector> {
    let given = query.split('&').find_map(|pair| pair.strip_prefix("labelSelector=")).unwrap_or_default();
    Selector::parse(&percent_decode_str(&given.replace('+', " ")).decode_utf8().ok()?)
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::super::Member;
    use super::*;

    struct OneApp;

    #[async_trait]
    impl Members for OneApp {
        async fn key(&self, app: &AppName) -> Option<String> {
            (app.as_str() != "nobody").then(|| format!("key-of-{app}"))
        }

        fn ready(&self, app: &AppName) -> Vec<Member> {
            let member = |last| Member {
                name: format!("{app}-{last}"),
                ip: [127, 64, 0, last].into(),
                process: "web".into(),
                release: 1,
            };
            vec![member(1), member(2)]
        }
    }

    async fn ask(path: &str, token: &str) -> Result<usize, u16> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        let asked = decide(&Method::GET, &path.parse().unwrap(), &headers, &OneApp).await;
        asked.map(|list| list["items"].as_array().unwrap().len()).map_err(|(status, ..)| status.as_u16())
    }

    #[tokio::test]
    async fn a_token_opens_its_own_namespace_and_no_other() {
        let shop = "/api/v1/namespaces/shop";
        // As libcluster before and after 3.3.3 writes it.
        for query in
            ["labelSelector=repo=shop", "labelSelector=repo%3Dshop", "labelSelector=repo%3Dshop&resourceVersion=0"]
        {
            assert_eq!(ask(&format!("{shop}/endpoints?{query}"), "key-of-shop").await, Ok(1), "{query}");
            assert_eq!(ask(&format!("{shop}/pods?{query}"), "key-of-shop").await, Ok(2), "{query}");
        }
        assert_eq!(ask(&format!("{shop}/pods?labelSelector=repo%3Dblog"), "key-of-shop").await, Ok(0));
        assert_eq!(ask(&format!("{shop}/pods?labelSelector=%3D"), "key-of-shop").await, Err(400));
        for (path, token, status) in [
            ("/api/v1/namespaces/shop/pods", "", 401),
            ("/api/v1/namespaces/shop/pods", "key-of-blog", 403),
            ("/api/v1/namespaces/blog/pods", "key-of-shop", 403),
            ("/api/v1/namespaces/nobody/pods", "key-of-nobody", 403),
            ("/api/v1/namespaces/shop/secrets", "key-of-shop", 404),
            ("/api/v1/pods", "key-of-shop", 404),
        ] {
            assert_eq!(ask(path, token).await, Err(status), "{path} {token}");
        }
    }
}
