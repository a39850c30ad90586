//! A program in a replica, with this side's standard streams: the carrier is the API's own WebSocket. (By ssh the same
//! words would go to `ssh`; whoever adds that carrier chooses between the two here, in [`run`].)

use std::io::Write as _;

use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Client;
use super::channel::{self, Ear, Heard, Mouth};
use super::error::{Error, Kind};
use super::terminal::{self, Raw};
use crate::api::inside::{ERRORS, Exec, PIECE, Told, Typed};

const SIGTERM: i32 = 15;

/// Runs it to its end. A code other than 0 becomes the command's own.
pub async fn run(client: &Client, app: &str, wish: Exec) -> Result<(), Error> {
    let (mouth, ear) = open(client, app, &wish).await?;
    let raw = wish.terminal.is_some().then(Raw::enter).transpose();
    let raw = raw.map_err(|error| Error::io("could not make the terminal raw", &error))?;
    let told = converse(mouth, ear, raw.is_some()).await;
    drop(raw);
    finish(told?)
}

/// A program that has begun.
pub async fn open(client: &Client, app: &str, wish: &Exec) -> Result<(Mouth, Ear), Error> {
    let api = client.api()?;
    let (mut mouth, mut ear) = channel::open(&api, &["api", "apps", app, "exec"], &[(); 0]).await?;
    mouth.say(wish).await?;
    match ear.next().await? {
        Some(Heard::Text(text)) => match told(&text)? {
            Told::Started(_) => Ok((mouth, ear)),
            other => Err(finish(other).err().unwrap_or_else(cut_off)),
        },
        _ => Err(cut_off()),
    }
}

/// What the last words mean for us.
pub fn finish(told: Told) -> Result<(), Error> {
    match told {
        Told::Exited(0) => Ok(()),
        Told::Exited(code) => Err(program(code)),
        Told::Signaled(number) => Err(program(128 + number)),
        Told::Failed(why) => Err(Error::failed(why)),
        Told::Started(_) => Err(cut_off()),
    }
}

fn program(code: i32) -> Error {
    let code = u8::try_from(code).unwrap_or(255);
    Error::new(Kind::Program(code), format!("the program ended with code {code}"))
}

/// The server's words.
pub fn told(text: &str) -> Result<Told, Error> {
    serde_json::from_str(text)
        .map_err(|_| Error::failed("the server says something unknown: is it of another version?"))
}

/// The connection ended without a last word.
pub fn cut_off() -> Error {
    Error::new(Kind::Unreachable, "the connection was cut off")
}

async fn converse(mut mouth: Mouth, mut ear: Ear, raw: bool) -> Result<Told, Error> {
    let prepared = |error: std::io::Error| Error::io("could not listen to signals", &error);
    let mut resized = signal(SignalKind::window_change()).map_err(prepared)?;
    let mut ends = [SignalKind::terminate(), SignalKind::hangup()].map(signal);
    let mut stdin = tokio::io::stdin();
    let talk = async {
        let mut piece = vec![0; PIECE];
        let mut open = true;
        loop {
            tokio::select! {
                read = stdin.read(&mut piece), if open => match read {
                    Ok(count @ 1..) => mouth.data(&piece[..count]).await?,
                    _ => {
                        open = false;
                        mouth.say(&Typed::Eof).await?;
                    }
                },
                _ = resized.recv(), if raw => {
                    let (columns, rows) = terminal::size();
                    mouth.say(&Typed::Resize { columns, rows }).await?;
                }
                () = either(&mut ends) => {
                    mouth.say(&Typed::Signal(SIGTERM)).await?;
                    return Err(Error::new(Kind::Interrupted, "ended by a signal"));
                }
                () = mouth.time_to_ping() => mouth.ping().await?,
            }
        }
    };
    tokio::select! {
        told = listen(&mut ear) => told,
        failed = talk => failed,
    }
}

async fn either(ends: &mut [std::io::Result<Signal>; 2]) {
    match ends {
        [Ok(one), Ok(other)] => drop(tokio::select! { came = one.recv() => came, came = other.recv() => came }),
        _ => std::future::pending().await,
    }
}

/// Copies what comes until the last word.
async fn listen(ear: &mut Ear) -> Result<Told, Error> {
    loop {
        match ear.next().await? {
            Some(Heard::Data(bytes)) => {
                let (kind, bytes) = bytes.split_first().ok_or_else(cut_off)?;
                let written = if *kind == ERRORS {
                    let mut stream = std::io::stderr().lock();
                    stream.write_all(bytes).and_then(|()| stream.flush())
                } else {
                    let mut stream = std::io::stdout().lock();
                    stream.write_all(bytes).and_then(|()| stream.flush())
                };
                written.map_err(|error| Error::output(&error))?;
            }
            Some(Heard::Text(text)) => return told(&text),
            None => return Err(cut_off()),
        }
    }
}
