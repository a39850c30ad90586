//! A signed-in connection: one person in one replica, for as long as it lasts. All its channels lead there, however many
//! there are (`ControlMaster`), and all end with it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use russh::Disconnect;
use russh::server::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Gateway;
use super::inbox::Backlog;
use crate::server::actions::enter::Entrance;
use crate::server::actions::{ActionError, Place};
use crate::server::domain::UserId;
use crate::server::runtime::session::{Command, Session, Stream};

/// How the record calls this door.
const DOOR: &str = "ssh";
/// How long a client has to leave by itself after its last program, while the server is stopping.
const LEAVING: Duration = Duration::from_millis(500);
/// How long a client that is sent away has to go.
const GOODBYE: Duration = Duration::from_secs(2);

/// The visit.
pub(super) struct Visit {
    gateway: Arc<Gateway>,
    pub(super) entrance: Entrance,
    /// By which key.
    fingerprint: [u8; 32],
    connection: Handle,
    /// Cancelled when it is over: ends programs and tunnels.
    pub(super) gone: CancellationToken,
    /// Its programs and tunnels.
    pub(super) tasks: TaskTracker,
    pub(super) backlog: Arc<Backlog>,
    programs: AtomicU32,
    tunnels: AtomicU32,
    begun: Instant,
    /// Milliseconds from the beginning to the last byte that went either way.
    stirred: AtomicU64,
    _place: Place<UserId>,
}

/// What a connection needs to become a visit.
pub(super) struct Admission {
    pub(super) entrance: Entrance,
    pub(super) fingerprint: [u8; 32],
    pub(super) place: Place<UserId>,
    /// Subscribed before access was looked at.
    pub(super) access: watch::Receiver<()>,
}

impl Visit {
    pub(super) fn new(
        gateway: Arc<Gateway>,
        admission: Admission,
        connection: Handle,
    ) -> (Arc<Self>, watch::Receiver<()>) {
        let visit = Self {
            gateway,
            entrance: admission.entrance,
            fingerprint: admission.fingerprint,
            connection,
            gone: CancellationToken::new(),
            tasks: TaskTracker::new(),
            backlog: Arc::default(),
            programs: AtomicU32::new(0),
            tunnels: AtomicU32::new(0),
            begun: Instant::now(),
            stirred: AtomicU64::new(0),
            _place: admission.place,
        };
        (Arc::new(visit), admission.access)
    }

    /// Stays until the connection ends or has to be ended, then tells the app's log and record. `connection` completes
    /// when the client has gone.
    pub(super) async fn last(&self, access: watch::Receiver<()>, mut connection: impl Future<Output = ()> + Unpin) {
        self.gateway.apps.entered(&self.entrance, DOOR);
        let reason = tokio::select! {
            () = &mut connection => None,
            reason = self.end(access) => Some(reason),
        };
        self.gone.cancel();
        if let Some(reason) = &reason {
            let goodbye = async {
                // Heard only by a client that listens.
                let _ = self.connection.disconnect(Disconnect::ByApplication, reason.clone(), String::new()).await;
                connection.await;
            };
            let _ = tokio::time::timeout(GOODBYE, goodbye).await;
        }
        self.tasks.close();
        self.tasks.wait().await;
        self.record(reason.as_deref().unwrap_or("the client left")).await;
    }

    async fn record(&self, reason: &str) {
        let (programs, tunnels) = (self.programs.load(Ordering::Relaxed), self.tunnels.load(Ordering::Relaxed));
        let what = format!("{programs} program(s), {tunnels} forwarded connection(s)");
        let stay = self.begun.elapsed();
        tracing::info!(
            app.name = %self.entrance.app.name,
            user.email = %self.entrance.user.email,
            replica = self.entrance.instance.name,
            duration_ms = u64::try_from(stay.as_millis()).unwrap_or(u64::MAX),
            programs,
            tunnels,
            reason,
            "an ssh connection has ended"
        );
        if let Err(error) = self.gateway.apps.left(&self.entrance, DOOR, stay, &what).await {
            // The app may have been destroyed, which ends its visits.
            tracing::debug!(%error, "a visit was not recorded");
        }
    }

    /// Why it has to end, once it has to.
    async fn end(&self, mut access: watch::Receiver<()>) -> String {
        tokio::select! {
            () = self.idle() => format!("nothing has happened for {} s", self.gateway.settings.idle.as_secs()),
            () = self.gateway.ending.cancelled() => "the server is being stopped; connect again in a moment".to_owned(),
            () = self.stopping() => "the server is being stopped; connect again in a moment".to_owned(),
            reason = async {
                loop {
                    // The sender lives in the store, which outlives every visit.
                    if access.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                    if let Err(error) = self.may_stay().await {
                        break error.to_string();
                    }
                }
            } => reason,
        }
    }

    /// The server is stopping, and nothing runs here that could be finished first. A client whose last program has just
    /// ended leaves by itself, and takes being sent away for a failure.
    async fn stopping(&self) {
        self.gateway.closing.cancelled().await;
        self.tasks.close();
        self.tasks.wait().await;
        tokio::time::sleep(LEAVING).await;
    }

    async fn may_stay(&self) -> Result<(), ActionError> {
        let owners = self.gateway.accounts.ssh_key_owners(self.fingerprint).await?;
        match owners.iter().any(|owner| owner.id == self.entrance.user.id) {
            true => self.gateway.apps.may_stay(&self.entrance).await,
            false => Err(ActionError::NotFound("the key of this connection has been removed".into())),
        }
    }

    async fn idle(&self) {
        let most = self.gateway.settings.idle;
        if most.is_zero() {
            std::future::pending::<()>().await;
        }
        loop {
            let silent =
                self.begun.elapsed().saturating_sub(Duration::from_millis(self.stirred.load(Ordering::Relaxed)));
            match most.checked_sub(silent) {
                Some(rest) if !rest.is_zero() => tokio::time::sleep(rest).await,
                _ => return,
            }
        }
    }

    /// Something went one way or the other.
    pub(super) fn stir(&self) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.stirred.store(now, Ordering::Relaxed);
    }

    /// Starts a program in the replica; the refusal in words for the client.
    pub(super) async fn exec(&self, command: Command) -> Result<Session, String> {
        self.programs.fetch_add(1, Ordering::Relaxed);
        self.gateway.apps.exec(&self.entrance, command).await.map_err(|error| in_words(&error))
    }

    /// Connects to a port of the replica.
    pub(super) async fn connect(&self, port: u16) -> Result<Box<dyn Stream>, String> {
        self.tunnels.fetch_add(1, Ordering::Relaxed);
        self.gateway.apps.connect(&self.entrance, port).await.map_err(|error| in_words(&error))
    }
}

/// An error for a client to read; what is a defect is told to the operator.
pub(super) fn in_words(error: &ActionError) -> String {
    if let ActionError::Internal(cause) = error {
        tracing::error!(cause = %cause, "something on behalf of an ssh client failed");
    }
    error.to_string()
}
