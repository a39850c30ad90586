//! How a platform goes down: doors first, then operations, visitors, logs. When another server takes over, visitors are
//! served on meanwhile.

use std::io;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::platform::Platform;

/// Those who serve visitors, on threads of their own.
pub(super) struct Visitors(pub(super) Vec<JoinHandle<()>>, pub(super) CancellationToken);

impl Visitors {
    /// Lets nobody in any more and finishes what is under way.
    pub(super) async fn finish(&mut self) {
        self.1.cancel();
        futures_util::future::join_all(self.0.drain(..)).await;
    }
}

impl Platform {
    /// Lets nobody in any more, finishes what is under way, ends the apps if asked to, and writes the last lines.
    pub(super) async fn stop(mut self, apps: bool) {
        // A socket that is open in any way takes visitors.
        self.sockets.clear();
        self.close_doors().await;
        self.visitors.finish().await;
        if apps {
            self.jobs.end_all().await;
            self.deployer.stop_apps().await;
            // Their last words come after their end.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.close_rest().await;
    }

    /// The same, but for visitors, who are served on.
    pub(super) async fn cease(&mut self) {
        self.sockets.clear();
        self.close_doors().await;
        self.close_rest().await;
    }

    /// What is left after that.
    pub(super) fn into_visitors(self) -> Visitors {
        self.visitors
    }

    /// The listening sockets, for another server.
    pub(super) fn sockets(&self) -> io::Result<Vec<(String, std::net::TcpListener)>> {
        self.sockets.iter().map(|(name, socket)| Ok((name.clone(), socket.try_clone()?))).collect()
    }

    async fn close_doors(&mut self) {
        // They come in by a door.
        self.parcels.close().await;
        self.doors.1.cancel();
        self.deployer.close().await;
        futures_util::future::join_all(self.doors.0.drain(..)).await;
    }

    async fn close_rest(&mut self) {
        self.jobs.close().await;
        if let Some(metering) = self.metering.take() {
            metering.close().await;
        }
        self.drains.close().await;
        self.others_logs.cancel();
        self.lines.abort();
        self.logs.flush().await;
        self.jobs.flush().await;
    }
}
