//! A WebSocket to the platform, in two halves, kept alive from this side: a person who pauses the output reads no pings.

use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::Upgraded;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::error::{Error, Kind};
use super::http::Api;

const PING: Duration = Duration::from_secs(20);

/// The half that is written.
pub struct Mouth {
    sink: SplitSink<WebSocketStream<Upgraded>, Message>,
    next_ping: Instant,
}

/// The half that is read.
pub struct Ear(SplitStream<WebSocketStream<Upgraded>>);

/// What came.
pub enum Heard {
    /// A message of words.
    Text(String),
    /// A message of data.
    Data(Vec<u8>),
}

/// Opens one.
pub async fn open(api: &Api, path: &[&str], query: &impl Serialize) -> Result<(Mouth, Ear), Error> {
    let upgraded = api.upgrade(path, query).await?;
    let socket = WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await;
    let (sink, stream) = socket.split();
    Ok((Mouth { sink, next_ping: Instant::now() + PING }, Ear(stream)))
}

impl Mouth {
    /// Sends words.
    pub async fn say(&mut self, words: &impl Serialize) -> Result<(), Error> {
        let text = serde_json::to_string(words).map_err(|error| Error::failed(error.to_string()))?;
        self.send(Message::Text(text.into())).await
    }

    /// Sends data.
    pub async fn data(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.send(Message::Binary(bytes.to_vec().into())).await
    }

    /// Says that nothing more comes.
    pub async fn close(&mut self) {
        let _ = self.sink.close().await;
    }

    /// Returns when it is time for [`Self::ping`].
    pub async fn time_to_ping(&self) {
        sleep_until(self.next_ping).await;
    }

    /// Shows that we are there.
    pub async fn ping(&mut self) -> Result<(), Error> {
        self.next_ping = Instant::now() + PING;
        self.send(Message::Ping(Vec::new().into())).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Error> {
        self.sink.send(message).await.map_err(|error| lost(&error))
    }
}

impl Ear {
    /// The next message; `None` when the other side has closed.
    pub async fn next(&mut self) -> Result<Option<Heard>, Error> {
        while let Some(message) = self.0.next().await {
            match message.map_err(|error| lost(&error))? {
                Message::Text(text) => return Ok(Some(Heard::Text(text.to_string()))),
                Message::Binary(bytes) => return Ok(Some(Heard::Data(bytes.to_vec()))),
                Message::Close(_) => return Ok(None),
                _ => {}
            }
        }
        Ok(None)
    }
}

fn lost(error: &dyn std::fmt::Display) -> Error {
    Error::new(Kind::Unreachable, format!("the connection was lost: {error}"))
}
