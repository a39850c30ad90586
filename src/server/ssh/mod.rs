//! The ssh door: `ssh APP@host` leads into a replica of the app, with no sshd, no key and no daemon in it.
//!
//! A connection's life: [`Gateway`] accepts it; [`visitor`] is what russh calls, from the first byte; when a key was
//! proved that has a role in the app it becomes a [`visit`], which stays in one replica; each channel of it has a place in
//! [`seats`], and is a [`program`] or a [`tunnel`]. Keys are looked up anew for every connection, and when access
//! changes each visit is looked at again, so both a new key and a removed one count at once.
//!
//! Nothing between client and program waits for another program: see [`inbox`] and [`voice`].
//!
//! Deliberately absent: passwords, agent, X11 and remote forwarding (all refused), compression (a way to make much of
//! little).

mod call;
mod cut;
mod destination;
mod host_keys;
mod inbox;
mod program;
mod seats;
mod signals;
mod tunnel;
mod visit;
mod visitor;
mod voice;

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::{Algorithm, PrivateKey};
use russh::server::{Config, run_stream};
use russh::{MethodKind, MethodSet, Preferred, SshId, compression};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::actions::account::{Accounts, network};
use super::actions::apps::Apps;
use super::actions::{ActionError, Allowance, Crowd};
use super::domain::UserId;
use cut::Cut;
use destination::Destination;
pub use host_keys::HostKeyError;
use visit::{Admission, in_words};
use visitor::Visitor;

/// Connections there may be at all; more wait to be accepted.
const CONNECTIONS: usize = 10_000;
/// Every refusal of a key takes this long, found or not; how often it may be tried is bounded elsewhere.
const REFUSAL: Duration = Duration::from_millis(50);
/// Keys that one connection may try.
const TRIES: usize = 20;
/// How long to wait when the process has no file descriptors left.
const OUT_OF_FILES: Duration = Duration::from_millis(100);
/// How long the last visits have to be recorded.
const RECORDING: Duration = Duration::from_secs(5);

/// What an operator may choose.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long signing in may take.
    pub login: Duration,
    /// How long nothing may happen on a connection; zero is for ever.
    pub idle: Duration,
    /// How often a silent client is asked whether it is there; zero is never.
    pub keepalive: Duration,
    /// Failed connections per address and minute; 0 is unlimited.
    pub attempts: u32,
    /// Connections of one address.
    pub per_address: usize,
    /// Connections of one account.
    pub per_account: usize,
    /// Channels of one connection.
    pub channels: usize,
    /// Bytes of one connection that programs have not read yet.
    pub buffer: usize,
    /// How long programs may go on when the server stops.
    pub drain: Duration,
}

/// The door.
struct Gateway {
    settings: Settings,
    accounts: Arc<Accounts>,
    apps: Arc<Apps>,
    attempts: Allowance<IpAddr>,
    addresses: Crowd<IpAddr>,
    people: Crowd<UserId>,
    /// No more connections.
    closing: CancellationToken,
    /// No more visits either.
    ending: CancellationToken,
}

/// Opens the door on `listener`, with the host keys in `folder`. Cancelling `closing` closes it; the task ends when all
/// visits have ended, a bounded time later.
pub fn serve(
    listener: TcpListener,
    folder: &Path,
    settings: Settings,
    (accounts, apps): (Arc<Accounts>, Arc<Apps>),
    closing: CancellationToken,
) -> Result<JoinHandle<()>, HostKeyError> {
    let config = Arc::new(config(&settings, host_keys::open(folder)?));
    let gateway = Arc::new(Gateway {
        attempts: Allowance::new(settings.attempts, Duration::from_secs(60)),
        addresses: Crowd::new(settings.per_address),
        people: Crowd::new(settings.per_account),
        ending: CancellationToken::new(),
        settings,
        accounts,
        apps,
        closing,
    });
    Ok(tokio::spawn(accept(listener, config, gateway)))
}

fn config(settings: &Settings, keys: Vec<PrivateKey>) -> Config {
    let sound = |key: &Algorithm| !matches!(key, Algorithm::Rsa { hash: None });
    Config {
        server_id: SshId::Standard(Cow::Borrowed("SSH-2.0-gigalixir")),
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        auth_rejection_time: REFUSAL,
        // Every client asks first what there is, which is no try.
        auth_rejection_time_initial: Some(Duration::ZERO),
        max_auth_attempts: TRIES,
        keys,
        window_size: inbox::WIDE,
        // How long a visit may be silent is for `visit.rs` to see: here keep-alives would count.
        inactivity_timeout: None,
        keepalive_interval: Some(settings.keepalive).filter(|interval| !interval.is_zero()),
        nodelay: true,
        preferred: Preferred {
            key: Preferred::DEFAULT.key.iter().filter(|key| sound(key)).cloned().collect(),
            compression: Cow::Borrowed(&[compression::NONE]),
            ..Preferred::DEFAULT
        },
        ..Config::default()
    }
}

async fn accept(listener: TcpListener, config: Arc<Config>, gateway: Arc<Gateway>) {
    let tasks = TaskTracker::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            accepted = accepted => accepted,
            () = gateway.closing.cancelled() => break,
        };
        match accepted {
            Ok((stream, from)) => {
                let receiving = receive(gateway.clone(), config.clone(), stream, from);
                tasks.spawn(async move {
                    receiving.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "could not accept an ssh connection");
                tokio::time::sleep(OUT_OF_FILES).await;
            }
        }
    }
    drop(listener);
    tasks.close();
    if tokio::time::timeout(gateway.settings.drain, tasks.wait()).await.is_err() {
        gateway.ending.cancel();
        let _ = tokio::time::timeout(RECORDING, tasks.wait()).await;
    }
}

/// One connection, from its first byte to its last.
async fn receive(gateway: Arc<Gateway>, config: Arc<Config>, stream: TcpStream, from: SocketAddr) {
    let from = network(from.ip());
    let Some(_place) = gateway.addresses.enter(from) else {
        return tracing::info!(client.network = %from, "an ssh connection was refused: there are too many from there");
    };
    if gateway.attempts.take(&from).is_err() {
        return tracing::info!(client.network = %from, "an ssh connection was refused: too many have failed from there");
    }
    // Only those that fail are counted.
    gateway.attempts.give_back(&from);
    // Refused only by a socket that is gone already.
    let _ = stream.set_nodelay(true);
    let cut = CancellationToken::new();
    let _cut_at_last = cut.clone().drop_guard();
    let (begun, beginning) = oneshot::channel();
    let visitor = Visitor::new(gateway.clone(), begun);
    let login = async {
        let mut running = run_stream(config, Cut::new(stream, cut), visitor).await?;
        match beginning.await {
            Ok(begun) => Ok(Some((begun, running))),
            // The visitor has gone, or is told why it may not in.
            Err(_) => (&mut running).await.map(|()| None),
        }
    };
    let ended = tokio::select! {
        ended = tokio::time::timeout(gateway.settings.login, login) => ended,
        () = gateway.ending.cancelled() => return,
    };
    match ended {
        Ok(Ok(Some(((visit, access), running)))) => {
            let mut running = running;
            let connection = async move {
                let _ = (&mut running).await;
            };
            visit.last(access, Box::pin(connection)).await;
        }
        failed => {
            let cause = match failed {
                Err(_) => "it took too long".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Ok(Ok(_)) => "it was refused".to_owned(),
            };
            tracing::info!(client.network = %from, cause, "an ssh connection did not sign in");
            let _ = gateway.attempts.take(&from);
        }
    }
}

impl Gateway {
    /// Whether anybody has this key.
    async fn knows(&self, fingerprint: [u8; 32]) -> bool {
        match self.accounts.ssh_key_owners(fingerprint).await {
            Ok(owners) => !owners.is_empty(),
            Err(error) => {
                tracing::error!(%error, "ssh keys could not be looked up");
                false
            }
        }
    }

    /// Whether somebody who has this key may in: as what, or why not. `None` if nobody has it any more.
    async fn admit(&self, user: &str, fingerprint: [u8; 32]) -> Option<Result<Admission, String>> {
        let access = self.apps.access_changes();
        let owners = self.accounts.ssh_key_owners(fingerprint).await.ok().filter(|owners| !owners.is_empty())?;
        let Some(destination) = Destination::parse(user) else {
            return Some(
                Err("say which app: `ssh APP@host`, or `ssh APP.web.2@host` for one replica of it".to_owned()),
            );
        };
        let mut refusal = None;
        for owner in owners {
            match self.apps.enter(&owner, destination.app, destination.replica).await {
                Ok(entrance) => {
                    let Some(place) = self.people.enter(owner.id) else {
                        return Some(Err("your account has as many ssh connections open as it may".to_owned()));
                    };
                    return Some(Ok(Admission { entrance, fingerprint, place, access }));
                }
                // A refusal that tells more than that there is no such app of theirs goes before.
                Err(error) if refusal.is_none() || !matches!(error, ActionError::NotFound(_)) => refusal = Some(error),
                Err(_) => {}
            }
        }
        refusal.map(|error| Err(in_words(&error)))
    }
}
