//! A session channel's program, from its start in the replica to its end.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use russh::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::inbox::Outlet;
use super::visit::Visit;
use super::voice::Voice;
use crate::server::runtime::session::{Command, Control, Ended, Session};

/// Output read at a time.
const CHUNK: usize = 32 << 10;
/// A program has ended and something it left behind holds its output open: how long nothing has to come from there.
const SILENCE: Duration = Duration::from_secs(1);

/// What a client does to its program.
pub(super) struct Hands {
    /// What it types.
    pub(super) input: Outlet,
    /// Its signals, its terminal's sizes.
    pub(super) controls: mpsc::Receiver<Control>,
    /// A reason of ours to end it; closed without one when the client closes the channel.
    pub(super) end: oneshot::Receiver<&'static str>,
}

/// Runs a program and tells its end. Returns early, ending the program, when the client, the visit or we want it so.
pub(super) async fn run(visit: Arc<Visit>, command: Command, voice: Voice, mut hands: Hands) {
    let course = async {
        match visit.exec(command).await {
            Ok(session) => converse(&visit, session, &voice, hands.input, &mut hands.controls).await,
            Err(text) => {
                let _ = voice.complain(&text).await;
                Ended::Exited(255)
            }
        }
    };
    tokio::select! {
        ended = course => voice.tell_end(ended).await,
        reason = hands.end => {
            if let Ok(reason) = reason {
                let _ = voice.complain(reason).await;
                voice.tell_end(Ended::Exited(255)).await;
            }
        }
        () = visit.gone.cancelled() => {}
    }
}

async fn converse(
    visit: &Visit,
    session: Session,
    voice: &Voice,
    mut input: Outlet,
    controls: &mut mpsc::Receiver<Control>,
) -> Ended {
    let Session { input: mut stdin, output, errors, control, ended } = session;
    let over = CancellationToken::new();
    let speaking = async {
        let aside = async {
            match errors {
                Some(errors) => carry(errors, &over, visit, |data| voice.say_aside(data)).await,
                None => Ok(()),
            }
        };
        tokio::join!(carry(output, &over, visit, |data| voice.say(data)), aside)
    };
    let ending = async {
        let ended = ended.await;
        over.cancel();
        ended
    };
    let listening = async {
        feed(&mut input, &mut stdin).await;
        drop(stdin);
        std::future::pending::<Infallible>().await
    };
    let steering = async {
        while let Some(change) = controls.recv().await {
            // A program that has ended does not need it.
            let _ = control.send(change).await;
        }
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        (_, ended) = async { tokio::join!(speaking, ending) } => match ended {
            Ok(ended) => ended,
            Err(_) => {
                let _ = voice.complain("the program was lost: its replica has ended").await;
                Ended::Exited(255)
            }
        },
        never = listening => match never {},
        never = steering => match never {},
    }
}

/// Carries output as the client takes it; to its end, or until nothing more comes after the program's own.
async fn carry<F, Sent>(
    mut output: Box<dyn AsyncRead + Send + Unpin>,
    over: &CancellationToken,
    visit: &Visit,
    send: F,
) -> Result<(), Error>
where
    F: Fn(Bytes) -> Sent,
    Sent: Future<Output = Result<(), Error>>,
{
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(CHUNK);
        let read = tokio::select! {
            biased;
            read = output.read_buf(&mut buffer) => read,
            () = silence(over) => return Ok(()),
        };
        match read {
            Ok(0) => return Ok(()),
            // So ends a terminal.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => return Ok(()),
            Err(error) => return Err(error.into()),
            Ok(_) => send(buffer.split().freeze()).await?,
        }
        visit.stir();
    }
}

async fn silence(over: &CancellationToken) {
    over.cancelled().await;
    tokio::time::sleep(SILENCE).await;
}

/// Feeds the program what the client sends, to its end; a program that does not want it any more gets no more.
pub(super) async fn feed(input: &mut Outlet, program: &mut (dyn AsyncWrite + Send + Unpin)) {
    let fed: io::Result<()> = async {
        while let Some(data) = input.next().await {
            program.write_all(&data).await?;
        }
        program.shutdown().await
    }
    .await;
    if fed.is_err() {
        while input.next().await.is_some() {}
    }
}
