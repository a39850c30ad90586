//! A program in a replica, with this side's standard streams: the carrier is the API's own WebSocket. It needs what every
//! command needs and nothing else: no key, no ssh on this machine, no other port, no question about a host's key. So it
//! goes before ssh even where that is there; by `ssh` the same words go if a person asks for it ([`super::ssh`]).

use std::io::Write as _;

use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Client;
use super::channel::{self, Ear, Heard, Mouth};
use super::error::{Error, Kind};
use super::terminal::{self, Raw};
use crate::api::inside::{ERRORS, Exec, PIECE, Told, Typed};
use crate::api::job::Attend;

const SIGTERM: i32 = 15;

/// Runs it to its end. A code other than 0 becomes the command's own.
pub async fn run(client: &Client, app: &str, wish: Exec) -> Result<(), Error> {
    let (mouth, ear) = open(client, app, &wish).await?;
    finish(talk(mouth, ear, wish.terminal.is_some()).await?)
}

/// Runs a job's program to its end: the job's number, and the last words if it came so far. `begun` hears of the job
/// before it has its turn.
pub async fn attend(client: &Client, app: &str, wish: &Attend, begun: impl FnOnce(i64)) -> Result<(i64, Told), Error> {
    let api = client.api()?;
    let (mut mouth, mut ear) = channel::open(&api, &["api", "apps", app, "run"], &[(); 0]).await?;
    mouth.say(wish).await?;
    let job = match first(&mut mouth, &mut ear).await? {
        Told::Job(job) => job,
        other => return Err(finish(other).err().unwrap_or_else(cut_off)),
    };
    begun(job);
    match first(&mut mouth, &mut ear).await? {
        Told::Started(_) => Ok((job, talk(mouth, ear, wish.terminal.is_some()).await?)),
        other => Ok((job, other)),
    }
}

/// Talks until the last word, with the terminal raw if there is one.
async fn talk(mouth: Mouth, ear: Ear, terminal: bool) -> Result<Told, Error> {
    let raw = terminal.then(Raw::enter).transpose();
    let raw = raw.map_err(|error| Error::io("could not make the terminal raw", &error))?;
    let told = converse(mouth, ear, raw.is_some()).await;
    drop(raw);
    told
}

/// A program that has begun.
pub async fn open(client: &Client, app: &str, wish: &Exec) -> Result<(Mouth, Ear), Error> {
    let api = client.api()?;
    let (mut mouth, mut ear) = channel::open(&api, &["api", "apps", app, "exec"], &[(); 0]).await?;
    mouth.say(wish).await?;
    match first(&mut mouth, &mut ear).await? {
        Told::Started(_) => Ok((mouth, ear)),
        other => Err(finish(other).err().unwrap_or_else(cut_off)),
    }
}

/// The next word of the server's, before there is a program to talk to. It may be long in coming.
async fn first(mouth: &mut Mouth, ear: &mut Ear) -> Result<Told, Error> {
    loop {
        tokio::select! {
            heard = ear.next() => match heard? {
                Some(Heard::Text(text)) => return told(&text),
                _ => return Err(cut_off()),
            },
            () = mouth.time_to_ping() => mouth.ping().await?,
        }
    }
}

/// What the last words mean for us.
pub fn finish(told: Told) -> Result<(), Error> {
    match told {
        Told::Exited(0) => Ok(()),
        Told::Exited(code) => Err(program(code)),
        Told::Signaled(number) => Err(program(128 + number)),
        Told::Failed(why) => Err(Error::failed(why)),
        Told::Started(_) | Told::Job(_) => Err(cut_off()),
    }
}

/// The end of a program as the command's own.
pub fn program(code: i32) -> Error {
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
