//! What a build says: its pod's log, followed until the build has ended, and taken up again where it broke off. Each line
//! comes once and whole.
//!
//! A node keeps so much of a log and no more: what it has thrown away while nobody could read is lost.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::pod::{BuildPod, container, ended};
use crate::server::runtime::kubernetes::names::CONTAINER;
use crate::server::runtime::kubernetes::output::pieces;
use crate::server::runtime::passage::{Known, Piece, Position};

const AGAIN: Duration = Duration::from_millis(500);
/// For what is under way when the end is known; whatever is not there by then is read once more.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// For what an ended build has said to be read: longer than an API server takes to be restarted.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pieces that are handed on together.
const MOST: usize = 64;

pub(super) struct Output {
    pods: Api<Pod>,
    pod: BuildPod,
    to: mpsc::Sender<Bytes>,
    position: Position,
}

impl Output {
    pub(super) fn new(pods: Api<Pod>, pod: BuildPod, to: mpsc::Sender<Bytes>) -> Self {
        Self { pods, pod, to, position: Position::default() }
    }

    /// Hands on all there is and all that comes, until the build has ended.
    pub(super) async fn follow(mut self) {
        let (mut pod, mut has_ended) = (self.pod.clone(), false);
        while !has_ended && !self.to.is_closed() {
            {
                let over = pod.wait_for(|word| ended(word).is_some());
                let following = self.read(true);
                tokio::pin!(following);
                tokio::select! {
                    _ = &mut following => {}
                    _ = over => drop(timeout(LAST_WORDS, following).await),
                }
            }
            has_ended = timeout(AGAIN, pod.wait_for(|word| ended(word).is_some())).await.is_ok();
        }
        let begun = Instant::now();
        while self.read(false).await.is_err() && begun.elapsed() < PATIENCE {
            sleep(AGAIN).await;
        }
    }

    /// Reads on from where it came to; an error when there may be more to read.
    async fn read(&mut self, follow: bool) -> Result<(), ()> {
        let Some(word) = self.pod.word() else { return Err(()) };
        let name = word.pod.metadata.name.clone().unwrap_or_default();
        let from = Timestamp::from_second(self.position.at.as_second()).ok();
        let wish = LogParams {
            container: Some(CONTAINER.to_owned()),
            follow,
            since_time: from.filter(|from| *from > Timestamp::UNIX_EPOCH),
            timestamps: true,
            ..LogParams::default()
        };
        let said = match self.pods.log_stream(&name, &wish).await {
            Ok(said) => said,
            // There is nothing, and there will be nothing.
            Err(kube::Error::Api(status)) if (400..429).contains(&status.code) => return Ok(()),
            Err(_) => return Err(()),
        };
        let mut batches = std::pin::pin!(pieces(said, container(&word.pod)).ready_chunks(MOST));
        let mut known = self.position.known();
        // The last piece that came is whole if it ends its line, or if another comes after it. If not, it may have broken off.
        let mut last: Option<Piece> = None;
        while let Some(batch) = batches.next().await {
            let Ok(place) = self.to.clone().reserve_owned().await else { return Ok(()) };
            let mut text = BytesMut::new();
            let mut broke = false;
            for piece in batch {
                match piece {
                    Ok(piece) => self.take(last.replace(piece), &mut known, &mut text),
                    Err(_) => broke = true,
                }
            }
            if last.as_ref().is_some_and(|(_, piece)| piece.ends_with(b"\n")) {
                self.take(last.take(), &mut known, &mut text);
            }
            place.send(text.freeze());
            if broke {
                return Err(());
            }
        }
        if !follow && last.is_some() {
            let Ok(place) = self.to.clone().reserve_owned().await else { return Ok(()) };
            let mut text = BytesMut::new();
            self.take(last, &mut known, &mut text);
            place.send(text.freeze());
        }
        Ok(())
    }

    fn take(&mut self, piece: Option<Piece>, known: &mut Known, text: &mut BytesMut) {
        let Some((at, piece)) = piece else { return };
        if !known.has(at) {
            self.position.pass(at);
            text.extend_from_slice(&piece);
        }
    }
}
