//! One instance as whoever attends to it knows it: how it is, whether it is ready, and who is told.

use std::net::SocketAddr;
use std::pin::Pin;

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::health;
use super::roster::Roster;
use crate::server::domain::{HealthCheck, Instance, InstanceState};

type Readiness = Pin<Box<dyn Future<Output = Option<SocketAddr>> + Send + Sync>>;

pub(super) struct Standing {
    pub(super) instance: Instance,
    /// Dropped as soon as it is known how the instance is.
    settled: Option<oneshot::Sender<()>>,
    readiness: Option<Readiness>,
}

impl Standing {
    /// Becomes known at once. The answer tells when it is known how it is.
    pub(super) fn begin(instance: Instance, roster: &Roster) -> (Self, oneshot::Receiver<()>) {
        roster.changed(&instance);
        let (settled, settling) = oneshot::channel();
        (Self { instance, settled: Some(settled), readiness: None }, settling)
    }

    /// Begins to ask at these addresses whether it is ready.
    pub(super) fn ask(&mut self, health: HealthCheck, addresses: Vec<SocketAddr>) {
        let up_for = self.instance.started_at.and_then(|begin| Timestamp::now().duration_since(begin).try_into().ok());
        self.readiness =
            Some(Box::pin(async move { health::ready(&health, &addresses, up_for.unwrap_or_default()).await }));
    }

    /// Returns when it is ready, with the address at which it was found; never, while nobody asks.
    pub(super) async fn ready(&mut self) -> Option<SocketAddr> {
        match &mut self.readiness {
            Some(readiness) => readiness.await,
            None => std::future::pending().await,
        }
    }

    /// Another state, and no address.
    pub(super) fn turn(&mut self, roster: &Roster, state: InstanceState) {
        self.turn_at(roster, state, None);
    }

    /// Another state; whoever asked whether it is ready need not any more.
    pub(super) fn turn_at(&mut self, roster: &Roster, state: InstanceState, address: Option<SocketAddr>) {
        self.readiness = None;
        self.instance.state = state;
        self.instance.address = address;
        roster.changed(&self.instance);
        // After it was made known: who waited for it lists next.
        if state != InstanceState::Starting {
            self.settled = None;
        }
    }
}
