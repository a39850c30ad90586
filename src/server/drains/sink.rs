//! The other side: one batch at a time, and how it was taken.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::CONTENT_TYPE;
use reqwest::{StatusCode, redirect};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use uuid::Uuid;

use super::target::{Carrier, Reach, Target};

const CONNECT: Duration = Duration::from_secs(10);
/// For a batch to be taken.
const TAKE: Duration = Duration::from_secs(30);

/// Frames that go together.
#[derive(Debug, Clone)]
pub(super) struct Parcel {
    pub(super) id: Uuid,
    pub(super) frames: usize,
    pub(super) body: Bytes,
}

/// Why a parcel was not taken.
#[derive(Debug)]
pub(super) enum Failure {
    /// It may be taken later.
    Later(String),
    /// It never will be.
    Never(String),
}

impl Failure {
    pub(super) fn words(&self) -> &str {
        match self {
            Self::Later(why) | Self::Never(why) => why,
        }
    }
}

/// A connection to the other side, made when there is something to send.
pub(super) enum Sink {
    Http { client: reqwest::Client, target: Target, token: String, reach: Reach },
    Syslog { target: Target, tls: Option<TlsConnector>, reach: Reach, open: Option<Box<dyn Stream>> },
}

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Sink {
    pub(super) fn new(target: Target, token: String, tls: &Arc<ClientConfig>, reach: Reach) -> reqwest::Result<Self> {
        if target.carrier != Carrier::Http {
            let tls = (target.carrier == Carrier::Tls).then(|| TlsConnector::from(tls.clone()));
            return Ok(Self::Syslog { target, tls, reach, open: None });
        }
        let resolver: Arc<dyn Resolve> = Arc::new(Resolver(reach));
        let client = reqwest::Client::builder()
            .user_agent(concat!("gigalixir/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(ClientConfig::clone(tls))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .dns_resolver(resolver)
            .connect_timeout(CONNECT)
            .timeout(TAKE)
            .pool_max_idle_per_host(1)
            .build()?;
        Ok(Self::Http { client, target, token, reach })
    }

    pub(super) async fn send(&mut self, parcel: &Parcel) -> Result<(), Failure> {
        match self {
            Self::Http { client, target, token, reach } => {
                // A name goes through the resolver.
                if target.host().is_ok_and(|ip| !reach.allows(ip)) {
                    return Err(Failure::Later(super::target::PRIVATE.to_owned()));
                }
                post(client, target, token, parcel).await
            }
            Self::Syslog { target, tls, reach, open } => {
                let sent = timeout(CONNECT + TAKE, write(target, tls.as_ref(), *reach, open, &parcel.body)).await;
                let sent = sent.unwrap_or_else(|_| Err("it does not take lines fast enough".to_owned()));
                // What part of it was taken is not known; a frame that was cut is none.
                sent.inspect_err(|_| *open = None).map_err(Failure::Later)
            }
        }
    }
}

async fn post(client: &reqwest::Client, target: &Target, token: &str, parcel: &Parcel) -> Result<(), Failure> {
    let request = client
        .post(target.as_str())
        .header(CONTENT_TYPE, "application/logplex-1")
        .header("Logplex-Msg-Count", parcel.frames)
        .header("Logplex-Frame-Id", parcel.id.to_string())
        .header("Logplex-Drain-Token", token)
        .body(parcel.body.clone());
    let answer = match request.send().await {
        Ok(answer) => answer,
        // The address may hold a password.
        Err(error) => return Err(Failure::Later(innermost(&error.without_url()))),
    };
    let status = answer.status();
    let words = format!("it answered {status}");
    match status {
        status if status.is_success() => Ok(()),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            Err(Failure::Later(words))
        }
        status if status.is_client_error() => Err(Failure::Never(words)),
        _ => Err(Failure::Later(words)),
    }
}

async fn write(
    target: &Target,
    tls: Option<&TlsConnector>,
    reach: Reach,
    open: &mut Option<Box<dyn Stream>>,
    body: &[u8],
) -> Result<(), String> {
    if let Some(stream) = open
        && has_ended(stream).await
    {
        *open = None;
    }
    let stream = match open {
        Some(stream) => stream,
        None => open.insert(connect(target, tls, reach).await?),
    };
    stream.write_all(body).await.map_err(|error| error.to_string())?;
    stream.flush().await.map_err(|error| error.to_string())
}

/// Whether the other side has hung up. It has nothing to say, so whatever else there is to read does not matter.
async fn has_ended(stream: &mut Box<dyn Stream>) -> bool {
    let mut heard = [0; 512];
    loop {
        match stream.read(&mut heard).now_or_never() {
            None => return false,
            Some(Ok(0) | Err(_)) => return true,
            Some(Ok(_)) => {}
        }
    }
}

async fn connect(target: &Target, tls: Option<&TlsConnector>, reach: Reach) -> Result<Box<dyn Stream>, String> {
    let mut failed = String::new();
    for address in reach.addresses(target).await? {
        let tcp = timeout(CONNECT, TcpStream::connect(address)).await;
        let tcp = match tcp.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(tcp) => tcp,
            Err(error) => {
                failed = error.to_string();
                continue;
            }
        };
        let Some(tls) = tls else { return Ok(Box::new(tcp)) };
        let name = match target.host() {
            Ok(ip) => ServerName::IpAddress(ip.into()),
            Err(name) => ServerName::try_from(name).map_err(|error| error.to_string())?,
        };
        let stream = timeout(CONNECT, tls.connect(name, tcp)).await.map_err(|_| "TLS took too long".to_owned())?;
        return Ok(Box::new(stream.map_err(|error| format!("TLS: {error}"))?));
    }
    Err(failed)
}

/// Looks names up for reqwest, and keeps to itself what may not be talked to.
struct Resolver(Reach);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let found = reach.lookup(name.as_str(), 0).await.map_err(io::Error::other)?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    cause.to_string()
}
