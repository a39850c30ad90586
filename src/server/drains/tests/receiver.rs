//! The other side of a drain: a real listener, with or without TLS, that can be made to fail.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// One request, as an HTTP receiver got it.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) head: String,
    pub(super) body: String,
}

#[derive(Default)]
struct Heard {
    frames: Vec<String>,
    requests: Vec<Request>,
    /// Statuses to answer with; 204 when there are none.
    answers: VecDeque<u16>,
    connections: usize,
    hung_up: CancellationToken,
}

/// A listener and what it heard.
#[derive(Clone)]
pub(super) struct Receiver {
    pub(super) address: SocketAddr,
    heard: Arc<Mutex<Heard>>,
}

/// A certificate for `localhost` and 127.0.0.1, and who trusts it.
pub(super) struct Identity {
    server: Arc<ServerConfig>,
    pub(super) trusting: ClientConfig,
}

impl Identity {
    pub(super) fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let server = ServerConfig::builder().with_no_client_auth();
        let server = Arc::new(server.with_single_cert(vec![cert.der().clone()], key).unwrap());
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        Self { server, trusting: ClientConfig::builder().with_root_certificates(roots).with_no_client_auth() }
    }
}

impl Receiver {
    /// Reads octet-counted frames.
    pub(super) async fn syslog(identity: Option<&Identity>) -> Self {
        Self::listen(identity, false).await
    }

    /// Takes `POST`s.
    pub(super) async fn http(identity: Option<&Identity>) -> Self {
        Self::listen(identity, true).await
    }

    /// Accepts connections and reads nothing, until told to.
    pub(super) async fn deaf() -> (Self, CancellationToken) {
        let (listener, receiver) = Self::bind().await;
        let (go, this) = (CancellationToken::new(), receiver.clone());
        let told = go.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (this, told) = (this.clone(), told.clone());
                tokio::spawn(async move {
                    told.cancelled().await;
                    this.frames_of(stream).await;
                });
            }
        });
        (receiver, go)
    }

    async fn bind() -> (TcpListener, Self) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, Self { address, heard: Arc::default() })
    }

    async fn listen(identity: Option<&Identity>, http: bool) -> Self {
        let (listener, receiver) = Self::bind().await;
        let tls = identity.map(|identity| TlsAcceptor::from(identity.server.clone()));
        let this = receiver.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (this, tls) = (this.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => this.hear(stream, http).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                this.hear(stream, http).await;
                            }
                        }
                    }
                });
            }
        });
        receiver
    }

    async fn hear(&self, stream: impl AsyncRead + AsyncWrite + Unpin, http: bool) {
        let hung_up = {
            let mut heard = self.heard.lock().unwrap();
            heard.connections += 1;
            heard.hung_up.clone()
        };
        let work = async { if http { self.requests_of(stream).await } else { self.frames_of(stream).await } };
        tokio::select! {
            () = work => {}
            () = hung_up.cancelled() => {}
        }
        self.heard.lock().unwrap().connections -= 1;
    }

    async fn frames_of(&self, mut stream: impl AsyncRead + Unpin) {
        loop {
            let mut length = String::new();
            loop {
                match stream.read_u8().await {
                    Ok(b' ') => break,
                    Ok(digit) => length.push(char::from(digit)),
                    Err(_) => return,
                }
            }
            let mut frame = vec![0; length.parse().unwrap()];
            if stream.read_exact(&mut frame).await.is_err() {
                return;
            }
            self.heard.lock().unwrap().frames.push(String::from_utf8(frame).unwrap());
        }
    }

    async fn requests_of(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(char::from(byte)),
                    Err(_) => return,
                }
            }
            let head = head.to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            let mut body = vec![0; length.parse().unwrap()];
            stream.read_exact(&mut body).await.unwrap();
            let body = String::from_utf8(body).unwrap();
            let status = {
                let mut heard = self.heard.lock().unwrap();
                heard.requests.push(Request { head, body });
                heard.answers.pop_front().unwrap_or(204)
            };
            let answer = format!("HTTP/1.1 {status} Said\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    }

    /// Answers with these statuses first.
    pub(super) fn answer(&self, statuses: &[u16]) {
        self.heard.lock().unwrap().answers.extend(statuses);
    }

    /// Ends every connection there is.
    pub(super) async fn hang_up(&self) {
        std::mem::take(&mut self.heard.lock().unwrap().hung_up).cancel();
        while self.heard.lock().unwrap().connections > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(super) fn frames(&self) -> Vec<String> {
        self.heard.lock().unwrap().frames.clone()
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.heard.lock().unwrap().requests.clone()
    }

    /// Everything heard so far, frame by frame.
    pub(super) fn messages(&self) -> Vec<String> {
        let heard = self.heard.lock().unwrap();
        let bodies = heard.requests.iter().flat_map(|request| request.body.lines().map(str::to_owned));
        heard.frames.iter().cloned().chain(bodies).collect()
    }

    /// Waits until something that contains `text` was heard.
    pub(super) async fn hears(&self, text: &str) {
        let end = Instant::now() + Duration::from_secs(60);
        while !self.messages().iter().any(|message| message.contains(text)) {
            assert!(
                Instant::now() < end,
                "`{text}` was not heard; heard: {:?}",
                self.messages().iter().rev().take(20).collect::<Vec<_>>()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
