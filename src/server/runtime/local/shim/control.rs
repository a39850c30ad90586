//! The shim's ear and mouth: one socket, at most one server on it, the newest.

use std::io;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::UnixListener;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::timeout;

use super::super::protocol::{Order, Phase, State, Word};

/// A server that takes nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(2);
/// What a replica is given when the machine goes down.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(25);

struct Server {
    orders: Lines<BufReader<OwnedReadHalf>>,
    mouth: OwnedWriteHalf,
}

impl Server {
    async fn say<T: Serialize + Sync>(&mut self, word: &T) -> io::Result<()> {
        let mut line = serde_json::to_vec(word)?;
        line.push(b'\n');
        timeout(PATIENCE, self.mouth.write_all(&line)).await?
    }

    async fn greet(&mut self, state: &State) -> io::Result<()> {
        self.say(&Word::State(state.clone())).await?;
        self.say(&Word::Output).await
    }
}

/// Tells whoever is connected every change of `state` and of `output`, and takes orders into `stop`. Ends when the last
/// word, [`Phase::Stopped`], is said or nobody is there to hear it.
pub(super) async fn serve(
    listener: UnixListener,
    mut state: watch::Receiver<State>,
    mut output: watch::Receiver<u64>,
    stop: watch::Sender<Option<Duration>>,
) -> io::Result<()> {
    let mut shutdown = signal(SignalKind::terminate())?;
    let mut server: Option<Server> = None;
    loop {
        let said = tokio::select! {
            accepted = listener.accept() => {
                let (ear, mouth) = accepted?.0.into_split();
                let new = server.insert(Server { orders: BufReader::new(ear).lines(), mouth });
                let now = state.borrow_and_update().clone();
                new.greet(&now).await
            }
            line = next(&mut server) => obey(line, &stop),
            changed = state.changed() => {
                changed.map_err(io::Error::other)?;
                let now = state.borrow_and_update().clone();
                match &mut server {
                    Some(server) => server.say(&Word::State(now)).await,
                    None => Ok(()),
                }
            }
            changed = output.changed(), if server.is_some() => {
                changed.map_err(io::Error::other)?;
                output.mark_unchanged();
                match &mut server {
                    Some(server) => server.say(&Word::Output).await,
                    None => Ok(()),
                }
            }
            _ = shutdown.recv() => {
                stop.send_replace(Some(SHUTDOWN_GRACE));
                Ok(())
            }
        };
        if said.is_err() {
            server = None;
        }
        if state.borrow().phase == Phase::Stopped && !state.has_changed().unwrap_or(false) {
            return Ok(());
        }
    }
}

async fn next(server: &mut Option<Server>) -> io::Result<Option<String>> {
    match server {
        Some(server) => server.orders.next_line().await,
        None => std::future::pending().await,
    }
}

fn obey(line: io::Result<Option<String>>, stop: &watch::Sender<Option<Duration>>) -> io::Result<()> {
    let line = line?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let Order::Stop { grace } = serde_json::from_str(&line)?;
    stop.send_replace(Some(grace));
    Ok(())
}
