//! A push's answer as it streams: progress on band 2 while there is some, a sign of life while there is none, and
//! git's report on band 1 at the end.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use tokio::sync::oneshot;

use super::ByteStream;
use super::protocol::Capabilities;
use super::report::Report;
use super::sideband::{Band, FLUSH, KEEPALIVE, on_band};
use crate::server::progress::Listener;

/// Silence after which a sign of life is sent; proxies in between cut what is silent for about a minute.
const SILENCE: Duration = Duration::from_secs(5);

/// The state between two chunks of the answer. Dropping it drops the listener, which cancels the push.
struct Answer {
    listener: Listener,
    report: oneshot::Receiver<Report>,
    capabilities: Capabilities,
    ready: VecDeque<Bytes>,
    ended: bool,
}

/// The body of the response.
pub(super) fn stream(capabilities: Capabilities, listener: Listener, report: oneshot::Receiver<Report>) -> ByteStream {
    let answer = Answer { listener, report, capabilities, ready: VecDeque::new(), ended: false };
    stream::unfold(answer, |mut answer| async move { Some((Ok(answer.next().await?), answer)) }).boxed()
}

impl Answer {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                return Some(chunk);
            }
            if self.ended {
                return None;
            }
            tokio::select! {
                biased;
                Some(chunk) = self.listener.output.recv() => self.tell(chunk),
                report = &mut self.report => self.end(report.ok()),
                () = tokio::time::sleep(SILENCE), if self.capabilities.side_band => {
                    return Some(Bytes::from_static(KEEPALIVE));
                }
            }
        }
    }

    fn tell(&mut self, chunk: Bytes) {
        if self.capabilities.side_band {
            self.ready.push_back(on_band(Band::Progress, &chunk));
        }
    }

    /// A report that never came means that the work ended by a fault of ours.
    fn end(&mut self, report: Option<Report>) {
        while let Ok(chunk) = self.listener.output.try_recv() {
            self.tell(chunk);
        }
        self.ended = true;
        match report {
            Some(report) if self.capabilities.report_status && self.capabilities.side_band => {
                self.ready.push_back(on_band(Band::Data, &report.encode()));
            }
            Some(report) if self.capabilities.report_status => self.ready.push_back(report.encode()),
            Some(_) => {}
            None => self.ready.push_back(on_band(Band::Error, b"the push ended unexpectedly; see the server's log\n")),
        }
        if self.capabilities.side_band {
            self.ready.push_back(Bytes::from_static(FLUSH));
        }
    }
}
