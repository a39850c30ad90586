//! A WebSocket to a visitor, in its two halves, and a program's conversation over it (`api/inside.rs` tells the messages).
//!
//! What is said waits in a short queue for the network; who says it waits with it.

use std::future::{Future, pending};
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};

use crate::api::inside::{ERRORS, OUTPUT, PIECE, Told, Typed};
use crate::server::runtime::session::{Control, Ended, Session, Stream, TerminalSize};

/// For the first message.
const BEGINNING: Duration = Duration::from_secs(30);
/// How often an answer is asked of the other end, and how long none may come.
const PING: Duration = Duration::from_secs(20);
const SILENCE: Duration = Duration::from_secs(90);
/// A visit in which nothing is said for so long is over.
const IDLE: Duration = Duration::from_secs(2 * 60 * 60);
/// For the output that is left when the program has ended; what it left in the background does not hold us longer.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Messages that wait for the network.
const WAITING: usize = 4;

type Outbox = mpsc::Sender<Message>;

/// How a conversation ended.
pub(super) enum End {
    /// With the program.
    Ended(Ended),
    /// With the program's replica.
    Lost,
    /// Because the visitor went or was sent away, for this reason.
    Left(String),
}

impl From<End> for Told {
    fn from(end: End) -> Self {
        match end {
            End::Ended(Ended::Exited(code)) => Self::Exited(code),
            End::Ended(Ended::Signaled(signal)) => Self::Signaled(signal),
            End::Lost => Self::Failed("the program was lost with its replica".into()),
            End::Left(why) => Self::Failed(why),
        }
    }
}

/// The WebSocket.
pub(super) struct Line {
    heard: SplitStream<WebSocket>,
    outbox: Outbox,
    posting: JoinHandle<()>,
}

impl Line {
    pub(super) fn open(socket: WebSocket) -> Self {
        let (sink, heard) = socket.split();
        let (outbox, posted) = mpsc::channel(WAITING);
        Self { heard, outbox, posting: tokio::spawn(post(sink, posted)) }
    }

    /// The first message, which says what shall run.
    pub(super) async fn first<T: DeserializeOwned>(&mut self) -> Result<T, String> {
        let first = timeout(BEGINNING, self.heard.next()).await;
        match first.map_err(|_| "no program was named in time".to_owned())? {
            Some(Ok(Message::Text(text))) => {
                serde_json::from_str(&text).map_err(|error| format!("the first message does not fit: {error}"))
            }
            _ => Err("the first message must name the program".into()),
        }
    }

    pub(super) async fn say(&self, told: &Told) {
        let text = serde_json::to_string(told).unwrap_or_default();
        let _ = self.outbox.send(Message::Text(text.into())).await;
    }

    /// Waits until the other end has gone, whatever it says meanwhile.
    pub(super) async fn gone(&mut self) {
        tokio::select! {
            () = listen(&mut self.heard) => {}
            () = keep_alive(&self.outbox) => {}
        }
    }

    /// Closes when all that was said is on its way, then listens until the other end has closed too: a connection that is
    /// closed with something unread is reset, and what the other end has not read yet would be lost with it.
    pub(super) async fn close(self) {
        let Self { mut heard, outbox, mut posting } = self;
        drop(outbox);
        // Who reads slowly answers pings meanwhile, and so is heard.
        tokio::select! {
            () = listen(&mut heard) => posting.abort(),
            _ = &mut posting => listen(&mut heard).await,
        }
    }

    /// Carries what visitor and program say to each other, until the program ends, the visitor goes, or has to.
    pub(super) async fn converse(&mut self, session: Session, must_go: impl Future<Output = String>) -> End {
        let Session { input, output, errors, control, ended } = session;
        let (stirred, mut stirring) = mpsc::channel(1);
        let outward = tokio::spawn(say_all(OUTPUT, output, self.outbox.clone(), stirred.clone()));
        let errors = errors.map(|errors| tokio::spawn(say_all(ERRORS, errors, self.outbox.clone(), stirred.clone())));
        let inward = obey(&mut self.heard, input, control, stirred);
        let idle = async { while let Ok(Some(())) = timeout(IDLE, stirring.recv()).await {} };
        let end = tokio::select! {
            ended = ended => ended.map_or(End::Lost, End::Ended),
            () = inward => End::Left("the connection was closed".into()),
            () = keep_alive(&self.outbox) => End::Left("the connection was lost".into()),
            () = idle => End::Left("nothing was said for too long".into()),
            why = must_go => End::Left(why),
        };
        let copying = [Some(outward), errors].into_iter().flatten();
        // A visitor that is held up in what it types would not hear the rest.
        tokio::select! {
            () = last_words(copying, matches!(end, End::Ended(_)), &self.outbox) => {}
            () = async { listen(&mut self.heard).await; pending().await } => {}
        }
        end
    }

    /// Carries a connection's bytes both ways until both have ended, or the visitor has to go.
    pub(super) async fn carry(&mut self, stream: Box<dyn Stream>, must_go: impl Future<Output = String>) {
        let (mut from, mut to) = tokio::io::split(stream);
        let outbox = &self.outbox;
        let outward = async {
            let mut piece = vec![0; PIECE];
            while let Ok(count @ 1..) = from.read(&mut piece).await {
                if outbox.send(Message::Binary(Bytes::copy_from_slice(&piece[..count]))).await.is_err() {
                    return;
                }
            }
            let _ = outbox.send(Message::Binary(Bytes::new())).await;
        };
        let inward = async {
            while let Ok(Some(Ok(message))) = timeout(SILENCE, self.heard.next()).await {
                match message {
                    Message::Binary(bytes) if bytes.is_empty() => drop(to.shutdown().await),
                    Message::Binary(bytes) if to.write_all(&bytes).await.is_err() => return,
                    Message::Close(_) => return,
                    _ => {}
                }
            }
        };
        tokio::select! {
            // The visitor closes when both directions have ended.
            () = async { tokio::join!(outward, inward); } => {}
            () = keep_alive(outbox) => {}
            _ = must_go => {}
        }
    }
}

/// Sends what is posted, then closes.
async fn post(mut sink: SplitSink<WebSocket, Message>, mut posted: mpsc::Receiver<Message>) {
    while let Some(message) = posted.recv().await {
        if sink.send(message).await.is_err() {
            return;
        }
    }
    let _ = sink.close().await;
}

/// Waits for the copying of what is left. A slow reader may take it; one that is gone ends it, and so does what holds the
/// pipe open for nothing.
async fn last_words(copying: impl Iterator<Item = JoinHandle<()>>, ended: bool, outbox: &Outbox) {
    for mut copying in copying {
        if !ended {
            copying.abort();
        }
        while timeout(LAST_WORDS, &mut copying).await.is_err() {
            if outbox.capacity() == WAITING || outbox.is_closed() {
                copying.abort();
            }
        }
    }
}

/// Until the other end closes, or is silent for too long.
async fn listen(heard: &mut SplitStream<WebSocket>) {
    while let Ok(Some(Ok(message))) = timeout(SILENCE, heard.next()).await {
        if let Message::Close(_) = message {
            return;
        }
    }
}

/// Copies what a program says; every piece waits until the one before is on its way.
async fn say_all(kind: u8, mut from: Box<dyn AsyncRead + Send + Unpin>, outbox: Outbox, stirred: mpsc::Sender<()>) {
    let mut piece = vec![0; PIECE + 1];
    piece[0] = kind;
    while let Ok(count @ 1..) = from.read(&mut piece[1..]).await {
        if outbox.send(Message::Binary(Bytes::copy_from_slice(&piece[..=count]))).await.is_err() {
            return;
        }
        let _ = stirred.try_send(());
    }
}

/// Does what the visitor says, until the connection ends.
async fn obey(
    heard: &mut SplitStream<WebSocket>,
    input: Box<dyn AsyncWrite + Send + Unpin>,
    control: mpsc::Sender<Control>,
    stirred: mpsc::Sender<()>,
) {
    let mut input = Some(input);
    while let Ok(Some(Ok(message))) = timeout(SILENCE, heard.next()).await {
        match message {
            Message::Binary(bytes) => {
                let _ = stirred.try_send(());
                // A program that reads no more is no reason to end it: what is typed is lost, as in a shell.
                if let Some(open) = &mut input
                    && open.write_all(&bytes).await.is_err()
                {
                    input = None;
                }
            }
            Message::Text(text) => match serde_json::from_str(&text) {
                Ok(Typed::Eof) => {
                    if let Some(mut open) = input.take() {
                        let _ = open.shutdown().await;
                        // A terminal's input is also what keeps it open.
                        input = Some(open);
                    }
                }
                Ok(Typed::Resize { columns, rows }) => {
                    let _ = control.send(Control::Resize(TerminalSize { columns, rows })).await;
                }
                Ok(Typed::Signal(signal)) => {
                    let _ = control.send(Control::Signal(signal)).await;
                }
                Err(_) => return,
            },
            Message::Close(_) => return,
            Message::Ping(_) | Message::Pong(_) => {}
        }
    }
}

/// Pings, so that the other end's silence means that it is gone; returns when the connection is.
async fn keep_alive(outbox: &Outbox) {
    let mut tick = interval(PING);
    loop {
        tick.tick().await;
        if outbox.send(Message::Ping(Bytes::new())).await.is_err() {
            return;
        }
    }
}
