//! Real sockets, real backends: what a visitor sees.

mod balance;
mod endings;
mod h2c;
mod lane;
mod plain;
mod rules;
mod slow;
mod smuggling;
mod streams;
mod traffic;
mod tunnels;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Guest, Inflight, Neighbours, Router, RouterConfig, Traffic};
use crate::server::domain::{AppName, Backend, Hostname, Route, RouteState, RouteTable, Rules};

pub(super) const SOON: Duration = Duration::from_secs(5);

/// A router on a port of its own, and the table it follows.
pub(super) struct Stage {
    pub(super) address: SocketAddr,
    pub(super) table: watch::Sender<Arc<RouteTable>>,
    pub(super) inflight: Inflight,
    pub(super) traffic: Traffic,
    pub(super) shutdown: CancellationToken,
    guests: Router,
    pub(super) router: JoinHandle<()>,
}

impl Stage {
    pub(super) async fn new(config: RouterConfig, states: &[(&str, RouteState)]) -> Self {
        Self::of(config, Neighbours::default(), table(states)).await
    }

    /// One app, `shop.test` and `www.shop.test`, for which rules hold.
    pub(super) async fn ruled(rules: Rules, state: RouteState, neighbours: Neighbours) -> Self {
        let mut table = table(&[("shop.test", state)]);
        let route = table.hosts.values().next().unwrap();
        let route = Arc::new(Route { rules: Arc::new(rules), ..Route::clone(route) });
        for host in ["shop.test", "www.shop.test"] {
            table.hosts.insert(Hostname::parse(host).unwrap(), Arc::clone(&route));
        }
        Self::of(RouterConfig::default(), neighbours, table).await
    }

    async fn of(config: RouterConfig, neighbours: Neighbours, table: RouteTable) -> Self {
        let (table, receiver) = watch::channel(Arc::new(table));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let router = Router::between(neighbours, config, receiver);
        let (inflight, traffic) = (router.inflight(), router.traffic());
        let (guests, router) = (router.clone(), router.serve(listener, shutdown.clone()));
        Self { address, table, inflight, traffic, shutdown, guests, router }
    }

    /// One app, `shop.test`, served by these.
    pub(super) async fn serving(backends: &[Backend]) -> Self {
        Self::new(RouterConfig::default(), &[("shop.test", RouteState::Serving(backends.to_vec()))]).await
    }

    pub(super) fn publish(&self, states: &[(&str, RouteState)]) {
        self.table.send_replace(Arc::new(table(states)));
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes, reads the answer until the router closes.
    pub(super) async fn raw(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes.as_ref()).await.unwrap();
        read_to_end(&mut stream).await
    }

    pub(super) async fn get(&self, path: &str) -> Seen {
        self.request(Request::get(path).header("host", "shop.test").body(empty()).unwrap()).await.unwrap()
    }

    pub(super) async fn request(&self, request: Request<BoxBody<Bytes, std::io::Error>>) -> hyper::Result<Seen> {
        let response = self.open(request).await?;
        let (head, body) = response.into_parts();
        let collected = body.collect().await?;
        let trailers = collected.trailers().cloned();
        let body = String::from_utf8_lossy(&collected.to_bytes()).into_owned();
        Ok(Seen { status: head.status, headers: head.headers, body, trailers })
    }

    /// A visitor who speaks HTTP/2, as decrypted.
    pub(super) async fn visitor2(&self) -> http2::SendRequest<BoxBody<Bytes, std::io::Error>> {
        let (theirs, ours) = tokio::io::duplex(64 * 1024);
        let place = self.guests.place().await.unwrap();
        let guest = Guest { stream: ours, address: [127, 0, 0, 1].into(), h2: true, place };
        let (guests, stopping) = (self.guests.clone(), self.shutdown.clone());
        tokio::spawn(async move { guests.serve_guest(guest, stopping).await });
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(theirs));
        let (mut sender, connection) = handshake.await.unwrap();
        tokio::spawn(connection);
        // An answer comes after the router's settings.
        let hello = Request::get("https://hello.test/").body(empty()).unwrap();
        assert_eq!(sender.send_request(hello).await.unwrap().status(), 404);
        sender
    }

    /// As [`Self::request`], with the body still to be read.
    pub(super) async fn open(
        &self,
        request: Request<BoxBody<Bytes, std::io::Error>>,
    ) -> hyper::Result<Response<Incoming>> {
        let io = TokioIo::new(self.connect().await);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
        tokio::spawn(connection);
        sender.send_request(request).await
    }
}

#[derive(Debug)]
pub(super) struct Seen {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
    pub(super) trailers: Option<HeaderMap>,
}

pub(super) fn empty() -> BoxBody<Bytes, std::io::Error> {
    full("")
}

pub(super) fn full(text: impl Into<Bytes>) -> BoxBody<Bytes, std::io::Error> {
    Full::new(text.into()).map_err(|never| match never {}).boxed()
}

/// Each host an app of its own.
pub(super) fn table(states: &[(&str, RouteState)]) -> RouteTable {
    let mut hosts = HashMap::new();
    for (index, (host, state)) in states.iter().enumerate() {
        let app = AppName::parse(&format!("secret-name-{index}")).unwrap();
        hosts.insert(
            Hostname::parse(host).unwrap(),
            Arc::new(Route { app, state: state.clone(), canary: None, rules: Arc::default() }),
        );
    }
    RouteTable { hosts }
}

pub(super) fn shop(backends: &[Backend]) -> Vec<(&'static str, RouteState)> {
    vec![("shop.test", RouteState::Serving(backends.to_vec()))]
}

pub(super) fn backend(name: &str, address: SocketAddr) -> Backend {
    Backend { name: name.into(), address }
}

/// An app on hyper; lives as long as the test.
pub(super) async fn app<F, R>(name: &str, answer: F) -> Backend
where
    F: Fn(Request<Incoming>) -> R + Send + Sync + Clone + 'static,
    R: Future<Output = Response<BoxBody<Bytes, std::io::Error>>> + Send + 'static,
{
    raw_app(name, move |stream| {
        let answer = answer.clone();
        async move {
            let service = service_fn(|request| {
                let answering = answer(request);
                async { Ok::<_, std::convert::Infallible>(answering.await) }
            });
            let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            let _ = served.with_upgrades().await;
        }
    })
    .await
}

/// An app that speaks for itself.
pub(super) async fn raw_app<F, R>(name: &str, serve: F) -> Backend
where
    F: Fn(TcpStream) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    backend(name, address)
}

/// Answers every request with its own head and body, as text.
pub(super) async fn mirror(name: &str) -> Backend {
    app(name, |request| async {
        let (head, body) = request.into_parts();
        let collected = body.collect().await.unwrap();
        let mut text = format!("{} {} {:?}\n", head.method, head.uri, head.version);
        for (name, value) in &head.headers {
            text += &format!("{name}: {}\n", value.to_str().unwrap());
        }
        for (name, value) in collected.trailers().into_iter().flatten() {
            text += &format!("trailer {name}: {}\n", value.to_str().unwrap());
        }
        text += &format!("\n{}", String::from_utf8_lossy(&collected.to_bytes()));
        Response::new(full(text))
    })
    .await
}

/// Always says its name.
pub(super) async fn named(name: &'static str) -> Backend {
    app(name, move |_| async move { Response::new(full(name)) }).await
}

/// Accepts and never answers.
pub(super) async fn silent(name: &str) -> Backend {
    raw_app(name, |stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await
}

/// An address where nobody listens.
pub(super) async fn nobody(name: &str) -> Backend {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    backend(name, listener.local_addr().unwrap())
}

pub(super) async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(SOON, stream.read_to_end(&mut bytes)).await;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    match read {
        Ok(_) => text,
        Err(_) => panic!("the connection stayed open after {text:?}"),
    }
}

/// Reads until `end` has come.
pub(super) async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&bytes).contains(end) {
            if stream.read_buf(&mut bytes).await.unwrap() == 0 {
                break;
            }
        }
    };
    let done = tokio::time::timeout(SOON, reading).await;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(done.is_ok() && text.contains(end), "waited for {end:?}, got {text:?}");
    text
}

/// Waits for something that no event tells a test of.
pub(super) async fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    for _ in 0..500 {
        if check() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}
