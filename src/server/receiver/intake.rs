//! What a push brings, taken in: the pack in quarantine, indexed, and known to be complete or not.

use std::io::BufReader;
use std::sync::Arc;

use gix::ObjectId;
use gix::objs::Exists;

use super::body::Body;
use super::error::ReceiverError;
use super::interrupt::Interrupt;
use super::protocol::Request;
use super::quarantine::Quarantine;
use super::{Receiver, Room, blocking, connectivity, repository};
use crate::server::domain::{AppName, Email};

/// A push's objects.
#[derive(Debug)]
pub(super) struct Intake {
    quarantine: Quarantine,
    /// Objects of the repository itself that the new ones refer to.
    relied_on: Vec<ObjectId>,
    room: Arc<Room>,
}

/// Why a push could not be taken in, in words for the pusher.
pub(super) struct Unreadable(pub(super) String);

impl From<ReceiverError> for Unreadable {
    fn from(error: ReceiverError) -> Self {
        Self(error.told())
    }
}

impl Intake {
    /// Reads the pack and everything behind it; whatever goes wrong, the body is read to its end. With it come the
    /// reasons against single commands.
    pub(super) async fn take(
        receiver: &Receiver,
        (app, by): (&AppName, &Email),
        request: &Request,
        mut body: Body,
        interrupt: Interrupt,
    ) -> Result<(Arc<Self>, Vec<Option<String>>), Unreadable> {
        let _place = receiver.packs.take(by).await.map_err(|error| Unreadable(error.to_string()))?;
        let (path, room, limit) = (receiver.path(app), receiver.room(app), receiver.limits.object_bytes);
        let (commands, has_pack) = (request.commands.clone(), request.has_pack());
        let runtime = tokio::runtime::Handle::current();
        blocking(move || {
            let quarantine = Quarantine::new(&path);
            let received = match &quarantine {
                Ok(quarantine) if has_pack => {
                    let mut pack = BufReader::with_capacity(64 * 1024, body.blocking());
                    quarantine.receive(&mut pack, limit, interrupt.flag())
                }
                _ => Ok(()),
            };
            runtime.block_on(body.drain());
            let quarantine = quarantine?;
            received.map_err(Unreadable)?;
            let checked = connectivity::check(&quarantine, &commands, &interrupt)?;
            Ok((Arc::new(Self { quarantine, relied_on: checked.relied_on, room }), checked.against))
        })
        .await
    }

    /// A handle that sees the new objects and the repository's.
    pub(super) fn repository(&self) -> Result<gix::Repository, ReceiverError> {
        self.quarantine.repository()
    }

    /// Makes the objects the repository's, durably. Idempotent. Blocks.
    pub(super) fn promote(&self) -> Result<(), ReceiverError> {
        let _packs_stay = self.room.objects.blocking_read();
        // Only a repack can have removed one, if no ref had reached it for longer than the grace.
        let objects = repository::open(self.quarantine.home())?.objects;
        if self.relied_on.iter().any(|id| !objects.exists(id)) {
            return Err(ReceiverError::Git("objects that the push relies on have been removed meanwhile".into()));
        }
        self.quarantine.promote().map(|_| ())
    }
}
