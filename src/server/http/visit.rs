//! A visit in a replica over one WebSocket, from the first message to the last (`api/inside.rs` tells the messages).

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::ws::{Message, WebSocket};
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::api::inside::{ERRORS, Exec, OUTPUT, PIECE, Told, Typed};
use crate::server::actions::apps::Apps;
use crate::server::actions::enter::Entrance;
use crate::server::domain::User;
use crate::server::runtime::session::{Command, Control, Ended, Session, Stream, Terminal, TerminalSize};

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
const LOGIN_SHELL: [&str; 2] = ["/bin/bash", "-l"];

type Outbox = mpsc::Sender<Message>;

/// Who comes, and to what.
pub(super) struct Visitor {
    pub(super) apps: Arc<Apps>,
    pub(super) user: User,
    pub(super) app: String,
    pub(super) shutdown: CancellationToken,
}

/// Runs a program, from the message that says which.
pub(super) async fn program(visitor: Visitor, socket: WebSocket) {
    let (sink, mut stream) = socket.split();
    let (outbox, posted) = mpsc::channel(WAITING);
    let posting = tokio::spawn(post(sink, posted));
    let told = match begin(&visitor, &mut stream).await {
        Ok((entrance, command, session)) => {
            let begun = Instant::now();
            visitor.apps.entered(&entrance, "the API");
            say(&outbox, &Told::Started(entrance.instance.name.clone())).await;
            let told = converse(&visitor.shutdown, session, &mut stream, &outbox).await;
            record(&visitor, &entrance, begun, &command).await;
            told
        }
        Err(why) => Told::Failed(why),
    };
    say(&outbox, &told).await;
    drop(outbox);
    part(posting, &mut stream).await;
}

/// Lets the last messages arrive. What the visitor still says is read until the visitor closes too: a connection that is
/// closed with something unread is reset, and what was on its way to the visitor is lost with it (RFC 1122, 4.2.2.13).
async fn part(posting: JoinHandle<()>, stream: &mut SplitStream<WebSocket>) {
    let unheard = async { while let Some(Ok(_)) = stream.next().await {} };
    let _ = timeout(SILENCE, async { tokio::join!(posting, unheard) }).await;
}

async fn record(visitor: &Visitor, entrance: &Entrance, begun: Instant, what: &str) {
    if let Err(error) = visitor.apps.left(entrance, "the API", begun.elapsed(), what).await {
        tracing::error!(error = %error, "a visit could not be recorded");
    }
}

type Begun = (Entrance, String, Session);

async fn begin(visitor: &Visitor, stream: &mut SplitStream<WebSocket>) -> Result<Begun, String> {
    let first = timeout(BEGINNING, stream.next()).await.map_err(|_| "no program was named in time".to_owned())?;
    let Some(Ok(Message::Text(text))) = first else { return Err("the first message must name the program".into()) };
    let wish: Exec = serde_json::from_str(&text).map_err(|error| format!("the first message does not fit: {error}"))?;
    if wish.command.iter().any(|word| word.contains('\0')) {
        return Err("the command has a NUL in it".into());
    }
    let entrance = visitor.apps.enter(&visitor.user, &visitor.app, wish.replica.as_deref()).await;
    let entrance = entrance.map_err(|error| error.to_string())?;
    let argv = match wish.command.is_empty() {
        true => LOGIN_SHELL.map(str::to_owned).to_vec(),
        false => wish.command,
    };
    // Arguments may be secrets; the program's name is enough for the record.
    let name = argv.first().cloned().unwrap_or_default();
    let terminal = wish.terminal.map(|terminal| Terminal {
        term: terminal.term,
        size: TerminalSize { columns: terminal.columns, rows: terminal.rows },
    });
    let command = Command { argv, env: Default::default(), terminal };
    let session = visitor.apps.exec(&entrance, command).await.map_err(|error| error.to_string())?;
    Ok((entrance, name, session))
}

/// Until the program ends, the visitor goes, or the server does.
async fn converse(
    shutdown: &CancellationToken,
    session: Session,
    stream: &mut SplitStream<WebSocket>,
    outbox: &Outbox,
) -> Told {
    let Session { input, output, errors, control, ended } = session;
    let (heard, mut hearing) = mpsc::channel(1);
    let outward = tokio::spawn(say_all(OUTPUT, output, outbox.clone(), heard.clone()));
    let errors = errors.map(|errors| tokio::spawn(say_all(ERRORS, errors, outbox.clone(), heard.clone())));
    let inward = obey(&mut *stream, input, control, heard);
    let idle = async { while let Ok(Some(())) = timeout(IDLE, hearing.recv()).await {} };
    let told = tokio::select! {
        ended = ended => match ended {
            Ok(Ended::Exited(code)) => Told::Exited(code),
            Ok(Ended::Signaled(signal)) => Told::Signaled(signal),
            Err(_) => Told::Failed("the program was lost with its replica".into()),
        },
        () = inward => Told::Failed("the connection was closed".into()),
        () = keep_alive(outbox) => Told::Failed("the connection was lost".into()),
        () = idle => Told::Failed("nothing was said for too long".into()),
        () = shutdown.cancelled() => Told::Failed("the server is stopping".into()),
    };
    let ended = matches!(told, Told::Exited(_) | Told::Signaled(_));
    let copying = [Some(outward), errors].into_iter().flatten();
    // A visitor that is held up in what it types would not hear the rest.
    let unheard = async { while let Some(Ok(_)) = stream.next().await {} };
    tokio::select! {
        () = last_words(copying, ended, outbox) => {}
        () = async { unheard.await; pending().await } => {}
    }
    told
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

/// Copies what a program says; every piece waits until the one before is on its way.
async fn say_all(kind: u8, mut from: Box<dyn AsyncRead + Send + Unpin>, outbox: Outbox, heard: mpsc::Sender<()>) {
    let mut piece = vec![0; PIECE + 1];
    piece[0] = kind;
    while let Ok(count @ 1..) = from.read(&mut piece[1..]).await {
        if outbox.send(Message::Binary(Bytes::copy_from_slice(&piece[..=count]))).await.is_err() {
            return;
        }
        let _ = heard.try_send(());
    }
}

/// Does what the visitor says, until the connection ends.
async fn obey(
    stream: &mut SplitStream<WebSocket>,
    input: Box<dyn AsyncWrite + Send + Unpin>,
    control: mpsc::Sender<Control>,
    heard: mpsc::Sender<()>,
) {
    let mut input = Some(input);
    while let Ok(Some(Ok(message))) = timeout(SILENCE, stream.next()).await {
        match message {
            Message::Binary(bytes) => {
                let _ = heard.try_send(());
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

/// Copies both ways until both have ended.
pub(super) async fn tunnel(
    visitor: Visitor,
    entrance: Entrance,
    port: u16,
    stream: Box<dyn Stream>,
    socket: WebSocket,
) {
    let begun = Instant::now();
    visitor.apps.entered(&entrance, &format!("a tunnel to port {port}"));
    let (sink, mut messages) = socket.split();
    let (outbox, posted) = mpsc::channel(WAITING);
    let posting = tokio::spawn(post(sink, posted));
    let (mut from, mut to) = tokio::io::split(stream);
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
        while let Ok(Some(Ok(message))) = timeout(SILENCE, messages.next()).await {
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
        () = keep_alive(&outbox) => {}
        () = visitor.shutdown.cancelled() => {}
    }
    record(&visitor, &entrance, begun, &format!("port {port}")).await;
    drop(outbox);
    part(posting, &mut messages).await;
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

async fn say(outbox: &Outbox, told: &Told) {
    let text = serde_json::to_string(told).unwrap_or_default();
    let _ = outbox.send(Message::Text(text.into())).await;
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
