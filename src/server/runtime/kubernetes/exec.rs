//! Programs beside a replica's own: the cluster's exec, and what it lacks. A program and all it starts carry a mark in
//! their environment, by which they are found again to be signalled and ended.
//!
//! Only the newest servers can close a program's input and go on with its output; so input comes in frames, which a
//! script in the pod takes apart again (`config/kubernetes/framed`). It also ends the program when the connection does.
//! On a terminal the end of input is what is typed for it (^D), and whoever lets go of the session ends the program.

use std::time::Duration;

use futures_util::{FutureExt as _, SinkExt as _};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::Api;
use kube::api::{AttachParams, AttachedProcess, TerminalSize as Size};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::cluster::{failed, is_gone};
use super::names::CONTAINER;
use crate::server::runtime::RuntimeError;
use crate::server::runtime::session::{Command, Control, Ended, Session, Terminal, TerminalSize};

/// Of each of a program's streams, in memory.
const BUFFER: usize = 256 * 1024;
/// Of a message on its way.
const FRAME: usize = 64 * 1024;
const WISHES: usize = 16;
/// What a terminal takes for the end of input (^D).
const END_OF_INPUT: u8 = 4;
const MARK: &str = "GIGALIXIR_SESSION";
/// Rows and columns, for `config/session`.
const SIZE: &str = "GIGALIXIR_TERMINAL_SIZE";
const PLATFORM: &str = "/opt/gigalixir";
const HANGUP: i32 = 1;
const KILL: i32 = 9;
/// Of what a program says that is only asked.
const LONGEST_ANSWER: u64 = 64 * 1024;
/// For a signal to be sent.
const SIGNAL: Duration = Duration::from_secs(20);

/// Starts a program in a pod.
pub(super) async fn exec(pods: Api<Pod>, name: &str, command: Command) -> Result<Session, RuntimeError> {
    let mark = format!("{MARK}={}", uuid::Uuid::now_v7().simple());
    let terminal = command.terminal.clone();
    let mut process = start(&pods, name, argv(&command, &mark), terminal.is_some()).await?;
    let lost = || RuntimeError::NotRunning(name.to_owned());
    let (ours, input) = tokio::io::duplex(BUFFER);
    let stdin = process.stdin().ok_or_else(lost)?;
    let feeding = match &terminal {
        Some(_) => tokio::spawn(typed(input, stdin)),
        None => tokio::spawn(framed(input, stdin)),
    };
    let feeding = AbortOnDropHandle::new(feeding);
    let output = drained(process.stdout().ok_or_else(lost)?);
    let errors = process.stderr().map(drained);
    let ended = process.take_status().ok_or_else(lost)?.map(|status| status.as_ref().and_then(ended));
    let mut resize = process.terminal_size();
    if let (Some(terminal), Some(resize)) = (&terminal, &mut resize) {
        let _ = resize.send(size(terminal.size)).await;
    }
    let (control, mut wishes) = mpsc::channel(WISHES);
    let (tell, told) = oneshot::channel();
    let target = Target { pods, name: name.to_owned(), mark };
    tokio::spawn(async move {
        let (mut tell, mut ended, mut has_ended) = (Some(tell), std::pin::pin!(ended), false);
        loop {
            tokio::select! {
                end = &mut ended, if !has_ended => {
                    has_ended = true;
                    if let (Some(tell), Some(end)) = (tell.take(), end) {
                        let _ = tell.send(end);
                    }
                }
                wish = wishes.recv() => match (wish, &mut resize) {
                    (Some(Control::Resize(new)), Some(resize)) => drop(resize.send(size(new)).await),
                    (Some(Control::Resize(_)), None) => {}
                    (Some(Control::Signal(number)), _) => target.signal(&[number]).await,
                    (None, _) => break,
                },
            }
        }
        // Nobody steers it any more; somebody may still wait for its end.
        if let Some(mut tell) = tell {
            tokio::select! {
                end = &mut ended => drop(end.map(|end| tell.send(end))),
                () = tell.closed() => {}
            }
        }
        // What has no terminal is ended by the connection's end.
        if terminal.is_some() {
            target.signal(&[HANGUP, KILL]).await;
        }
        drop((process, feeding));
    });
    Ok(Session {
        input: Box::new(ours),
        output: Box::new(output),
        errors: errors.map(|e| Box::new(e) as _),
        control,
        ended: told,
    })
}

/// A program that carries a mark.
struct Target {
    pods: Api<Pod>,
    name: String,
    mark: String,
}

impl Target {
    /// Sends it signals, one after the other.
    async fn signal(&self, numbers: &[i32]) {
        let script = ["/bin/bash".to_owned(), format!("{PLATFORM}/signal"), self.mark.clone()];
        let argv = script.into_iter().chain(numbers.iter().map(i32::to_string)).collect();
        let sent = async {
            let mut process = start(&self.pods, &self.name, argv, false).await.ok()?;
            process.take_status()?.await
        };
        if timeout(SIGNAL, sent).await.ok().flatten().is_none() {
            tracing::debug!(
                instance.name = self.name,
                "a program could not be signalled; it may have gone with its pod"
            );
        }
    }
}

fn argv(command: &Command, mark: &str) -> Vec<String> {
    // The cluster gives a terminal its size only after the program has begun: `config/session` does it before.
    let of_terminal = command
        .terminal
        .iter()
        .flat_map(|Terminal { term, size }| [format!("TERM={term}"), format!("{SIZE}={} {}", size.rows, size.columns)]);
    let env = command.env.iter().map(|(name, value)| format!("{name}={value}")).chain(of_terminal);
    let before = if command.terminal.is_some() { "session" } else { "framed" };
    let program = ["/bin/bash".to_owned(), format!("{PLATFORM}/{before}")];
    let env = ["/usr/bin/env".to_owned()].into_iter().chain(env).chain([mark.to_owned()]);
    env.chain(program).chain(command.argv.iter().cloned()).collect()
}

/// What a program in a pod says that is given nothing and soon ends, whichever way.
pub(super) async fn said<const N: usize>(pods: &Api<Pod>, name: &str, argv: [&str; N]) -> Result<String, RuntimeError> {
    let wish = AttachParams { container: Some(CONTAINER.to_owned()), stderr: false, ..AttachParams::default() };
    let mut process = attach(pods, name, argv, &wish).await?;
    let output = process.stdout().ok_or_else(|| RuntimeError::NotRunning(name.to_owned()))?;
    let mut said = String::new();
    let failed = |source| RuntimeError::Io { context: format!("hearing a program in {name}"), source };
    output.take(LONGEST_ANSWER).read_to_string(&mut said).await.map_err(failed)?;
    Ok(said)
}

async fn start(pods: &Api<Pod>, name: &str, argv: Vec<String>, tty: bool) -> Result<AttachedProcess, RuntimeError> {
    let wish = AttachParams {
        container: Some(CONTAINER.to_owned()),
        stdin: true,
        stdout: true,
        // On a terminal there is one output.
        stderr: !tty,
        tty,
        max_stdin_buf_size: Some(FRAME),
        max_stdout_buf_size: Some(FRAME),
        max_stderr_buf_size: Some(FRAME),
    };
    attach(pods, name, argv, &wish).await
}

async fn attach(
    pods: &Api<Pod>,
    name: &str,
    argv: impl IntoIterator<Item = impl Into<String>> + std::fmt::Debug,
    wish: &AttachParams,
) -> Result<AttachedProcess, RuntimeError> {
    pods.exec(name, argv, wish).await.map_err(|error| {
        if is_gone(&error) {
            return RuntimeError::NotRunning(name.to_owned());
        }
        failed(format!("starting a program in {name}"), error)
    })
}

/// What is typed, as it is.
async fn typed(mut from: DuplexStream, mut to: impl AsyncWrite + Unpin) {
    if tokio::io::copy(&mut from, &mut to).await.is_ok() {
        let _ = to.write_all(&[END_OF_INPUT]).await;
        let _ = to.flush().await;
        // The connection's end would end the program.
        std::future::pending::<()>().await;
    }
}

/// What is piped, so that its end can be told.
async fn framed(mut from: DuplexStream, mut to: impl AsyncWrite + Unpin) {
    let mut frame = vec![0; FRAME];
    loop {
        let Ok(count) = from.read(&mut frame).await else { return };
        if to.write_all(format!("{count}\n").as_bytes()).await.is_err()
            || to.write_all(&frame[..count]).await.is_err()
            || to.flush().await.is_err()
        {
            return;
        }
        if count == 0 {
            // The connection's end would end the program.
            return std::future::pending().await;
        }
    }
}

/// What the program says. What nobody reads any more is thrown away, so that the rest still flows.
fn drained(mut from: impl AsyncRead + Send + Unpin + 'static) -> DuplexStream {
    let (ours, mut theirs) = tokio::io::duplex(BUFFER);
    tokio::spawn(async move {
        if tokio::io::copy(&mut from, &mut theirs).await.is_err() {
            let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
        }
    });
    ours
}

fn size(size: TerminalSize) -> Size {
    Size { width: size.columns, height: size.rows }
}

/// How the cluster says that a program has ended; `None` if it does not know.
pub(super) fn ended(status: &Status) -> Option<Ended> {
    if status.status.as_deref() == Some("Success") {
        return Some(Ended::Exited(0));
    }
    let causes = status.details.as_ref()?.causes.as_ref()?;
    let code = causes.iter().find(|cause| cause.reason.as_deref() == Some("ExitCode"))?.message.as_deref()?;
    let code = code.parse().ok()?;
    // As a shell counts.
    Some(if (129..=192).contains(&code) { Ended::Signaled(code - 128) } else { Ended::Exited(code) })
}
