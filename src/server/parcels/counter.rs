//! One build's side of the door.

use std::fs::File;
use std::io::{self, Seek as _};
use std::path::Path;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tempfile::TempPath;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{ParcelError, incoming};

/// What came of waiting.
#[derive(Debug)]
pub(super) enum Arrival {
    /// All of it.
    Whole(File),
    /// More than may be.
    TooMuch,
}

pub(super) type Arriving = oneshot::Receiver<Arrival>;

#[derive(Debug)]
pub(super) struct Counter {
    pub(super) outgoing: TempPath,
    most: u64,
    /// Until it has arrived.
    tell: Mutex<Option<oneshot::Sender<Arrival>>>,
    closed: CancellationToken,
    /// Ends the attempt that came last.
    last: Mutex<CancellationToken>,
    /// One attempt at a time: a build has the disk for one.
    turn: tokio::sync::Mutex<()>,
}

impl Counter {
    pub(super) fn new(outgoing: TempPath, most: u64) -> (Self, Arriving) {
        let (tell, arriving) = oneshot::channel();
        let (closed, last, turn) = (CancellationToken::new(), Mutex::default(), tokio::sync::Mutex::default());
        (Self { outgoing, most, tell: Mutex::new(Some(tell)), closed, last, turn }, arriving)
    }

    /// Nobody waits any more; what is under way ends.
    pub(super) fn close(&self) {
        self.tell().take();
        self.closed.cancel();
    }

    /// An attempt takes the place of the one before: that one's connection may be dead without anybody knowing.
    pub(super) async fn take_in(
        &self,
        dir: &Path,
        body: impl Stream<Item = io::Result<Bytes>> + Send,
    ) -> Result<(), ParcelError> {
        let mine = self.closed.child_token();
        let before = std::mem::replace(&mut *self.last.lock().unwrap_or_else(PoisonError::into_inner), mine.clone());
        before.cancel();
        let taken = mine.run_until_cancelled(async {
            let _turn = self.turn.lock().await;
            if self.tell().is_none() {
                return Err(ParcelError::Done);
            }
            let received = self.receive(dir, body).await;
            let arrival = match received {
                Ok(file) => Arrival::Whole(file),
                Err(ParcelError::TooMuch) => Arrival::TooMuch,
                Err(error) => return Err(error),
            };
            let too_much = matches!(arrival, Arrival::TooMuch);
            // Nobody to tell: closed in this very moment.
            let told = self.tell().take().is_some_and(|tell| tell.send(arrival).is_ok());
            match (told, too_much) {
                (_, true) => Err(ParcelError::TooMuch),
                (true, false) => Ok(()),
                (false, false) => Err(ParcelError::Unknown),
            }
        });
        match taken.await {
            Some(taken) => taken,
            None if self.closed.is_cancelled() => Err(ParcelError::Unknown),
            None => Err(ParcelError::Overtaken),
        }
    }

    async fn receive(
        &self,
        dir: &Path,
        body: impl Stream<Item = io::Result<Bytes>> + Send,
    ) -> Result<File, ParcelError> {
        let (mut file, mut body, mut left) = (tokio::fs::File::from_std(incoming(dir)?), pin!(body), self.most);
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(ParcelError::Broken)?;
            left = left.checked_sub(piece.len() as u64).ok_or(ParcelError::TooMuch)?;
            file.write_all(&piece).await?;
        }
        file.flush().await?;
        let mut file = file.into_std().await;
        file.rewind()?;
        Ok(file)
    }

    fn tell(&self) -> MutexGuard<'_, Option<oneshot::Sender<Arrival>>> {
        self.tell.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
