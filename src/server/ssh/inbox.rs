//! What a client has sent and the program has not read yet.
//!
//! russh opens a channel's window again as soon as something has arrived, read or not, and delivers to all channels of a
//! connection one after the other: whoever waits for one program makes all others wait. So nothing waits here: what
//! arrives is queued and counted. While much is waiting, the windows that are opened again are narrow
//! ([`Backlog::window`]) and what comes through them is taken slowly ([`Backlog::breathe`]), which holds a client back
//! without stopping its other channels; beyond the most that may wait, a program is ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

/// A channel's window, as long as programs keep up.
pub(super) const WIDE: u32 = 2 << 20;
/// A channel's window while they do not.
const NARROW: u32 = 1024;
/// From here on they do not.
const MUCH: usize = 4 << 20;
/// How long one packet through a narrow window takes at most.
const BREATH: Duration = Duration::from_millis(20);
/// What a packet costs beside its bytes while it waits, be it ever so short.
const PACKET: usize = 128;

/// What is waiting in all inboxes of a connection.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    bytes: AtomicUsize,
    less: Notify,
}

/// Where what the client sends goes in.
#[derive(Debug)]
pub(super) struct Inlet {
    queue: mpsc::UnboundedSender<Bytes>,
    backlog: Arc<Backlog>,
}

/// Where it comes out.
#[derive(Debug)]
pub(super) struct Outlet {
    queue: mpsc::UnboundedReceiver<Bytes>,
    backlog: Arc<Backlog>,
}

/// An inbox. Dropping the inlet is the end of input.
pub(super) fn inbox(backlog: &Arc<Backlog>) -> (Inlet, Outlet) {
    // Not bounded by itself: its user looks at the backlog after each push.
    let (sender, receiver) = mpsc::unbounded_channel();
    (Inlet { queue: sender, backlog: backlog.clone() }, Outlet { queue: receiver, backlog: backlog.clone() })
}

impl Backlog {
    /// Bytes that what waits takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How far a window should be opened now.
    pub(super) fn window(&self) -> u32 {
        if self.bytes() > MUCH { NARROW } else { WIDE }
    }

    /// Waits a moment if much is waiting and a packet of this length came through a narrow window.
    pub(super) async fn breathe(&self, length: usize) {
        if length > NARROW as usize || self.bytes() <= MUCH {
            return;
        }
        let less = self.less.notified();
        if self.bytes() > MUCH {
            // Either is fine.
            let _ = tokio::time::timeout(BREATH, less).await;
        }
    }

    fn add(&self, packet: &[u8]) {
        self.bytes.fetch_add(packet.len() + PACKET, Ordering::Relaxed);
    }

    fn take(&self, packet: &[u8]) {
        let bytes = packet.len() + PACKET;
        let before = self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        if before > MUCH && before - bytes <= MUCH {
            self.less.notify_waiters();
        }
    }
}

impl Inlet {
    /// Queues what has arrived, unless nobody will ever read it.
    pub(super) fn push(&self, data: &[u8]) {
        self.backlog.add(data);
        if self.queue.send(Bytes::copy_from_slice(data)).is_err() {
            self.backlog.take(data);
        }
    }
}

impl Outlet {
    /// The next of it; `None` at the end of input.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        let data = self.queue.recv().await?;
        self.backlog.take(&data);
        Some(data)
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.queue.close();
        while let Ok(data) = self.queue.try_recv() {
            self.backlog.take(&data);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_waits_is_counted_until_it_is_read_or_forgotten() {
        let backlog = Arc::new(Backlog::default());
        let (inlet, mut outlet) = inbox(&backlog);
        let (other, forgotten) = inbox(&backlog);
        inlet.push(b"one");
        inlet.push(b"two!");
        other.push(b"three");
        assert_eq!(backlog.bytes(), 12 + 3 * PACKET);
        assert_eq!(outlet.next().await.as_deref(), Some(&b"one"[..]));
        drop(forgotten);
        assert_eq!(backlog.bytes(), 4 + PACKET);
        other.push(b"nobody reads this");
        assert_eq!(backlog.bytes(), 4 + PACKET);
        drop(inlet);
        assert_eq!(outlet.next().await.as_deref(), Some(&b"two!"[..]));
        assert_eq!((outlet.next().await, backlog.bytes()), (None, 0));
    }

    /// They take nothing from a window, so nothing but this would hold them back.
    #[tokio::test]
    async fn packets_without_a_byte_count_too() {
        let backlog = Arc::new(Backlog::default());
        let (inlet, mut outlet) = inbox(&backlog);
        for _ in 0..MUCH / PACKET + 1 {
            inlet.push(b"");
        }
        assert_eq!(backlog.window(), NARROW);
        outlet.next().await;
        assert_eq!(backlog.window(), WIDE);
    }

    #[tokio::test]
    async fn windows_are_narrow_and_slow_while_much_is_waiting() {
        let backlog = Arc::new(Backlog::default());
        let (inlet, mut outlet) = inbox(&backlog);
        let took = async |length: usize| {
            let start = std::time::Instant::now();
            backlog.breathe(length).await;
            start.elapsed()
        };
        inlet.push(&vec![0; MUCH - PACKET]);
        assert_eq!(backlog.window(), WIDE);
        inlet.push(b"x");
        assert_eq!(backlog.window(), NARROW);
        assert!(took(10).await >= BREATH, "what comes through a narrow window is taken slowly");
        let before = futures_util::poll!(std::pin::pin!(backlog.breathe(32_768)));
        assert!(before.is_ready(), "what was on its way before is taken at once");
        let mut slow = std::pin::pin!(backlog.breathe(10));
        assert!(futures_util::poll!(slow.as_mut()).is_pending());
        outlet.next().await;
        assert!(futures_util::poll!(slow).is_ready(), "no longer than needed");
        assert_eq!(backlog.window(), WIDE);
    }
}
