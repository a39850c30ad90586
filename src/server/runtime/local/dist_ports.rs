//! One port for the Erlang nodes of each app.
//!
//! Nodes of an app have one name and one port, each on its replica's own address, so that they find each other without
//! asking any `epmd`: the port is known, and the address is in the node's name. Another app has another port. A node
//! that tries its own app's port on another app's replica finds nobody, before any cookie is compared.
//!
//! They lie between the ports of replicas ([`super::slots`]) and those that the kernel takes for outgoing connections.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::server::domain::AppName;

const RANGE: Range<u16> = 32_000..32_768;
const TRIES: usize = 2000;

/// The ports in use, and by how many replicas each.
#[derive(Default)]
pub(super) struct DistPorts(Mutex<HashMap<AppName, (u16, usize)>>);

impl DistPorts {
    /// The app's port; a new one if no replica of it has one. When all are given away, apps share.
    pub(super) fn of(&self, app: &AppName) -> io::Result<u16> {
        let mut ports = self.lock();
        if let Some((port, _)) = ports.get(app) {
            return Ok(*port);
        }
        for attempt in 0..TRIES {
            let port = rand::random_range(RANGE);
            let taken = attempt < TRIES / 2 && ports.values().any(|(other, _)| *other == port);
            if !taken && TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
                ports.insert(app.clone(), (port, 0));
                return Ok(port);
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, "no port is free between 32000 and 32767"))
    }

    /// A replica of the app has this port.
    pub(super) fn enter(&self, app: &AppName, port: u16) {
        self.lock().entry(app.clone()).or_insert((port, 0)).1 += 1;
    }

    /// A replica of the app is no more.
    pub(super) fn leave(&self, app: &AppName) {
        let mut ports = self.lock();
        if let Some((_, count)) = ports.get_mut(app) {
            *count = count.saturating_sub(1);
        }
        ports.retain(|_, (_, count)| *count > 0);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AppName, (u16, usize)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_has_one_port_as_long_as_it_has_replicas() {
        let (ports, shop, blog) =
            (DistPorts::default(), AppName::parse("shop").unwrap(), AppName::parse("blog").unwrap());
        let first = ports.of(&shop).unwrap();
        ports.enter(&shop, first);
        ports.enter(&shop, first);
        assert_ne!(ports.of(&blog).unwrap(), first);
        ports.leave(&shop);
        assert_eq!(ports.of(&shop).unwrap(), first);
        ports.leave(&shop);
        assert!(!ports.lock().contains_key(&shop));
    }
}
