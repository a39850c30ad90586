//! Many visitors at once, of each kind, who notice every failure.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::pem::PemObject as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};

/// How long a visitor waits for one thing.
const PATIENCE: Duration = Duration::from_secs(20);

/// How many of each.
#[derive(Clone, Copy)]
pub struct Crowd {
    /// Keep-alive connections over HTTP/1.1, every other of them uploading.
    pub http1: usize,
    /// Connections over TLS and HTTP/2.
    pub http2: usize,
    /// WebSockets at a time; each lasts `socket_lasts`, and is opened anew.
    pub sockets: usize,
    pub socket_lasts: Duration,
}

/// Visitors at work.
pub struct Visitors {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

/// What they have seen.
#[derive(Debug)]
pub struct Report {
    pub answers: usize,
    pub messages: usize,
    /// Requests that were repeated since the connection they were on had ended: what every browser does.
    pub repeated: usize,
    pub failures: Vec<String>,
}

struct Shared {
    host: String,
    http: SocketAddr,
    https: SocketAddr,
    tls: Option<TlsConnector>,
    /// Who trusts the same, and speaks HTTP/1.1 and WebSocket.
    secured: Option<TlsConnector>,
    stop: AtomicBool,
    answers: AtomicUsize,
    messages: AtomicUsize,
    repeated: AtomicUsize,
    failures: std::sync::Mutex<Vec<String>>,
}

impl Visitors {
    /// They come to `host`; `root` is the CA that those over TLS trust.
    pub fn come(crowd: Crowd, host: &str, http: SocketAddr, https: SocketAddr, root: Option<&Path>) -> Self {
        Self::begin(crowd, host, (http, https), root.map(|root| connector(root, &[b"h2"])), None)
    }

    /// They come to `host`, all over TLS.
    pub fn come_secured(crowd: Crowd, host: &str, https: SocketAddr, root: &Path) -> Self {
        Self::begin(crowd, host, (https, https), Some(connector(root, &[b"h2"])), Some(connector(root, &[])))
    }

    fn begin(
        crowd: Crowd,
        host: &str,
        (http, https): (SocketAddr, SocketAddr),
        tls: Option<TlsConnector>,
        secured: Option<TlsConnector>,
    ) -> Self {
        let shared = Arc::new(Shared {
            host: host.to_owned(),
            http,
            https,
            tls,
            secured,
            stop: AtomicBool::new(false),
            answers: AtomicUsize::new(0),
            messages: AtomicUsize::new(0),
            repeated: AtomicUsize::new(0),
            failures: Default::default(),
        });
        let kept = shared.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            runtime.expect("runtime").block_on(work(shared, crowd));
        });
        Self { shared: kept, thread }
    }

    /// Answers and messages so far.
    pub fn served(&self) -> usize {
        self.shared.answers.load(SeqCst) + self.shared.messages.load(SeqCst)
    }

    /// They finish what they are at and tell what they have seen.
    pub fn leave(self) -> Report {
        self.shared.stop.store(true, SeqCst);
        self.thread.join().expect("visitors");
        let shared = self.shared;
        Report {
            answers: shared.answers.load(SeqCst),
            messages: shared.messages.load(SeqCst),
            repeated: shared.repeated.load(SeqCst),
            failures: shared.failures.lock().expect("failures").clone(),
        }
    }
}

fn connector(root: &Path, protocols: &[&[u8]]) -> TlsConnector {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let pem = std::fs::read(root).expect("root");
    let mut roots = rustls::RootCertStore::empty();
    for certificate in rustls_pki_types::CertificateDer::pem_slice_iter(&pem) {
        roots.add(certificate.expect("certificate")).expect("root");
    }
    let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

async fn work(shared: Arc<Shared>, crowd: Crowd) {
    let mut all = tokio::task::JoinSet::new();
    for number in 0..crowd.http1 {
        let method = if number % 2 == 0 { Method::GET } else { Method::PUT };
        all.spawn(requests(shared.clone(), method, false));
    }
    for _ in 0..crowd.http2 {
        all.spawn(requests(shared.clone(), Method::GET, true));
    }
    for number in 0..crowd.sockets {
        // Not all at once, as people come.
        let late = crowd.socket_lasts * number as u32 / crowd.sockets as u32;
        all.spawn(sockets(shared.clone(), late, crowd.socket_lasts));
    }
    while let Some(done) = all.join_next().await {
        done.expect("a visitor");
    }
}

type Body = Full<Bytes>;

/// What a visitor who speaks HTTP/1.1 or WebSocket holds.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Shared {
    async fn connect(&self) -> Result<Box<dyn Stream>, String> {
        let stream = TcpStream::connect(self.http).await.map_err(text)?;
        let Some(tls) = &self.secured else { return Ok(Box::new(stream)) };
        let name = self.host.clone().try_into().map_err(text)?;
        Ok(Box::new(tls.connect(name, stream).await.map_err(text)?))
    }
}

enum Connection {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

impl Connection {
    async fn open(shared: &Shared, h2: bool) -> Result<Self, String> {
        if !h2 {
            let stream = shared.connect().await?;
            let (sender, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
            tokio::spawn(driver);
            return Ok(Self::Http1(sender));
        }
        let stream = TcpStream::connect(shared.https).await.map_err(text)?;
        let name = shared.host.clone().try_into().map_err(text)?;
        let stream = shared.tls.as_ref().expect("a root").connect(name, stream).await.map_err(text)?;
        let (sender, driver) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(text)?;
        tokio::spawn(driver);
        Ok(Self::Http2(sender))
    }

    async fn ready(&mut self) -> bool {
        match self {
            Self::Http1(sender) => sender.ready().await.is_ok(),
            Self::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    async fn ask(&mut self, shared: &Shared, method: &Method) -> Result<(), String> {
        let body = if method == Method::GET { Bytes::new() } else { Bytes::from_static(b"some body") };
        let uri = if matches!(self, Self::Http2(_)) { format!("https://{}/", shared.host) } else { "/".to_owned() };
        let request = Request::builder().method(method).uri(uri).header("host", &shared.host);
        let request = request.body(Full::new(body)).expect("request");
        let answer = match self {
            Self::Http1(sender) => sender.send_request(request).await,
            Self::Http2(sender) => sender.send_request(request).await,
        };
        let answer = answer.map_err(|error| format!("no answer: {error:?}"))?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(|error| format!("{status}, then {error:?}"))?;
        match status.as_u16() {
            200 => Ok(()),
            _ => Err(format!("{status}: {}", String::from_utf8_lossy(&body.to_bytes()))),
        }
    }
}

async fn requests(shared: Arc<Shared>, method: Method, h2: bool) {
    let mut connection = None;
    while !shared.stop.load(SeqCst) {
        let used = connection.is_some();
        let asked = tokio::time::timeout(PATIENCE, once(&shared, &method, h2, &mut connection)).await;
        match asked.unwrap_or_else(|_| Err("it took too long".to_owned())) {
            Ok(()) => shared.answers.fetch_add(1, SeqCst),
            Err(error) if used && error.starts_with("no answer") => {
                connection = None;
                shared.repeated.fetch_add(1, SeqCst)
            }
            Err(error) => {
                connection = None;
                shared.fail(format!("{method} h2={h2}: {error}"))
            }
        };
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn once(shared: &Shared, method: &Method, h2: bool, connection: &mut Option<Connection>) -> Result<(), String> {
    if let Some(open) = connection
        && !open.ready().await
    {
        *connection = None;
    }
    let open = match connection {
        Some(open) => open,
        None => connection.insert(Connection::open(shared, h2).await?),
    };
    open.ask(shared, method).await
}

async fn sockets(shared: Arc<Shared>, late: Duration, lasts: Duration) {
    tokio::time::sleep(late).await;
    while !shared.stop.load(SeqCst) {
        let visit = tokio::time::timeout(lasts + PATIENCE, socket(&shared, lasts)).await;
        if let Err(error) = visit.unwrap_or_else(|_| Err("it took too long".to_owned())) {
            shared.fail(format!("WebSocket: {error}"));
        }
    }
}

async fn socket(shared: &Shared, lasts: Duration) -> Result<(), String> {
    let mut request = format!("ws://{}/socket", shared.http).into_client_request().map_err(text)?;
    request.headers_mut().insert("host", shared.host.parse().map_err(text)?);
    let stream = shared.connect().await?;
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.map_err(text)?;
    let begun = Instant::now();
    let mut number = 0;
    while begun.elapsed() < lasts && !shared.stop.load(SeqCst) {
        let word = format!("message {number}");
        socket.send(Message::text(word.as_str())).await.map_err(text)?;
        match socket.next().await {
            Some(Ok(Message::Text(echo))) if echo.as_str() == word => shared.messages.fetch_add(1, SeqCst),
            other => return Err(format!("after {number} messages and {:?}: {other:?}", begun.elapsed())),
        };
        number += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    socket.close(None).await.map_err(text)?;
    while let Some(Ok(_)) = socket.next().await {}
    Ok(())
}

impl Shared {
    fn fail(&self, what: String) -> usize {
        let mut failures = self.failures.lock().expect("failures");
        failures.push(what);
        failures.len()
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
