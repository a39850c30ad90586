//! Who else is there: answers replicas as Kubernetes would answer them, so that libcluster's Kubernetes strategy (and
//! whatever else asks for endpoints or pods of its own namespace by label) forms a cluster without being told where it
//! runs. An app's namespace is its name.
//!
//! Read only, two kinds of things, one namespace per token. The token is the app's key; what it opens is the list of
//! that app's ready replicas, nothing of any other. TLS under an authority of its own ([`authority`]), on a loopback
//! address of its own: port 443 where that can be had, because libcluster's address has no port, and a port of its own
//! beside it.
//!
//! Deliberately absent: watches, writes, and everything of Kubernetes that says how a cluster is run.

mod answers;
mod authority;
mod selector;
mod serve;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::authority::Authority;
use super::domain::AppName;

/// Libraries that know no other port expect this one.
const HTTPS: u16 = 443;
const BACKLOG: u32 = 1024;

/// Who is asked about the apps.
#[async_trait]
pub trait Members: Send + Sync + 'static {
    /// The app's key; `None` if there is no such app.
    async fn key(&self, app: &AppName) -> Option<String>;
    /// The replicas of the app's serving generations that are ready.
    fn ready(&self, app: &AppName) -> Vec<Member>;
}

/// One replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// The address by which others of its app reach it.
    pub ip: IpAddr,
    /// Its process type.
    pub process: String,
    /// The release it runs.
    pub release: u32,
}

/// Listens, and does not answer yet: replicas of an earlier server may ask before it is known who is there.
pub struct Directory {
    folder: PathBuf,
    listeners: Vec<TcpListener>,
    authority: Authority,
    /// Where replicas shall ask.
    pub address: SocketAddr,
    /// Why not at port 443, if so.
    pub without_https: Option<io::Error>,
}

impl Directory {
    /// For the server of a data folder: address and authority stay the same over restarts, for replicas know them.
    pub fn open(data: &Path) -> Result<Self, DirectoryError> {
        let ip = address(data);
        let folder = data.join("cluster");
        let authority = Authority::open(&folder, ip)?;
        let mut directory =
            Self { folder, listeners: Vec::new(), authority, address: SocketAddr::new(ip, HTTPS), without_https: None };
        (directory.address, directory.without_https) = directory.listen_at(ip, "port")?;
        Ok(directory)
    }

    /// Listens at another address of this machine too, for replicas that do not share its loopback; where they shall ask,
    /// and why not at port 443, if so.
    pub fn also_at(&mut self, ip: IpAddr) -> Result<(SocketAddr, Option<io::Error>), DirectoryError> {
        self.listen_at(ip, &format!("port-{ip}"))
    }

    fn listen_at(&mut self, ip: IpAddr, remembered: &str) -> Result<(SocketAddr, Option<io::Error>), DirectoryError> {
        let failed = |source| DirectoryError::Listen { ip, source };
        let own = listen_again(ip, &self.folder.join(remembered)).map_err(failed)?;
        let own_address = own.local_addr().map_err(failed)?;
        self.listeners.push(own);
        match listen(SocketAddr::new(ip, HTTPS)) {
            Ok(listener) => {
                self.listeners.push(listener);
                Ok((SocketAddr::new(ip, HTTPS), None))
            }
            Err(error) => Ok((own_address, Some(error))),
        }
    }

    /// The authority's certificate.
    pub fn authority_pem(&self) -> &str {
        self.authority.pem()
    }

    /// Answers until `closed`.
    pub fn serve(self, members: Arc<dyn Members>, closed: CancellationToken) -> JoinHandle<()> {
        tokio::spawn(serve::serve(self.listeners, self.authority.acceptor(), members, closed))
    }
}

/// Why replicas cannot be told of each other.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// No certificate could be made or read.
    #[error("the cluster directory's certificate in `{}`: {reason}", folder.display())]
    Certificate {
        /// Where it should be.
        folder: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The address cannot be had.
    #[error("the cluster directory cannot listen on {ip}: {source}")]
    Listen {
        /// Which.
        ip: IpAddr,
        /// Why not.
        source: io::Error,
    },
}

/// A loopback address of 127.63.0.0/16, by the folder's name: two servers of one machine have two.
fn address(data: &Path) -> IpAddr {
    let digest = Sha256::digest(data.as_os_str().as_encoded_bytes());
    IpAddr::from([127, 63, digest[0], digest[1]])
}

/// On the port of last time, if it can still be had.
fn listen_again(ip: IpAddr, remembered: &Path) -> io::Result<TcpListener> {
    let last = std::fs::read_to_string(remembered).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    let listener = listen(SocketAddr::new(ip, last)).or_else(|_| listen(SocketAddr::new(ip, 0)))?;
    std::fs::write(remembered, listener.local_addr()?.port().to_string())?;
    Ok(listener)
}

/// Beside a socket that listens on the port for all addresses, if that one allows it too (`SO_REUSEPORT`).
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(address.port() == HTTPS)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
