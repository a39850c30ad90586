//! Numbers for replicas: each is a port that was free when it was given, and a loopback address.
//!
//! They lie below the range from which the kernel takes ports for outgoing connections, so that none of the router's many
//! connections sits on a port that an app is about to bind.

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

const RANGE: Range<u16> = 10_000..32_000;
const TRIES: usize = 1000;

/// The numbers in use by this server's replicas.
#[derive(Default)]
pub(super) struct Slots(Mutex<HashSet<u16>>);

impl Slots {
    /// A number that no replica has and whose port nobody listens on.
    pub(super) fn take(&self) -> io::Result<u16> {
        for _ in 0..TRIES {
            let slot = rand::random_range(RANGE);
            let free = || TcpListener::bind((Ipv4Addr::UNSPECIFIED, slot)).is_ok();
            if !self.taken().contains(&slot) && free() && self.claim(slot) {
                return Ok(slot);
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, "no port is free between 10000 and 32000"))
    }

    /// Marks a number as in use; whether it was free.
    pub(super) fn claim(&self, slot: u16) -> bool {
        self.taken().insert(slot)
    }

    pub(super) fn give_back(&self, slot: u16) {
        self.taken().remove(&slot);
    }

    fn taken(&self) -> MutexGuard<'_, HashSet<u16>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
