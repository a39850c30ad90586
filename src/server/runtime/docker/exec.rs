//! Programs beside a replica's own: Docker's exec, and what it lacks. A program and all it starts carry a mark in their
//! environment, by which they are found again to be signalled and, at the latest when nobody has the session any more,
//! ended.

use std::collections::HashMap;
use std::pin::Pin;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::exec::{CreateExecOptions, ResizeExecOptions, StartExecOptions, StartExecResults};
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::{Stream, StreamExt as _};
use jiff::{SignedDuration, Timestamp};
use tokio::io::{AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;
use tokio_util::future::FutureExt as _;
use tokio_util::sync::CancellationToken;

use super::engine::{Engine, failed};
use super::spec::{PLATFORM, UID};
use crate::server::runtime::RuntimeError;
use crate::server::runtime::relay;
use crate::server::runtime::session::{self, Command, Control, Ended, Session, Terminal, TerminalSize};

/// Of each of a program's streams, in memory.
const BUFFER: usize = 256 * 1024;
const WISHES: usize = 16;
/// What a terminal takes for the end of input (^D).
const END_OF_INPUT: u8 = 4;
/// Between being told that nobody listens any more and being killed.
const FAREWELL: Duration = Duration::from_secs(2);
/// What a daemon's clock may be behind ours.
const SKEW: SignedDuration = SignedDuration::from_secs(60);
const HANGUP: i32 = 1;
const KILL: i32 = 9;

const MARK: &str = "GIGALIXIR_SESSION";
/// Rows and columns, for `config/session`: Docker gives a terminal its size only after the program has begun.
const SIZE: &str = "GIGALIXIR_TERMINAL_SIZE";
/// Signals everything that carries a mark, all at once: `bash -c SIGNAL - MARK=… NUMBER`.
const SIGNAL: &str = r#"
for one in /proc/[0-9]*; do
  while IFS= read -r -d '' variable; do
    [ "$variable" = "$1" ] && marked+=("${one#/proc/}") && break
  done <"$one/environ"
done 2>/dev/null
kill -"$2" "${marked[@]}"
"#;

type Output = Pin<Box<dyn Stream<Item = Result<LogOutput, Error>> + Send>>;

/// Starts a program in a container.
pub(super) async fn exec(engine: &Engine, container: &str, command: Command) -> Result<Session, RuntimeError> {
    let mark = format!("{MARK}={}", uuid::Uuid::now_v7().simple());
    let terminal = command.terminal.clone();
    let id = create(engine, container, command, &mark).await?;
    // From before it begins, so that its end cannot be missed, however soon it comes.
    let end = Box::pin(died(engine.clone(), id.clone(), Timestamp::now() - SKEW));
    let options = StartExecOptions { tty: terminal.is_some(), ..StartExecOptions::default() };
    let started = engine.docker.start_exec(&id, Some(options)).await;
    let StartExecResults::Attached { output, input } =
        started.map_err(failed(format!("starting it in {container}")))?
    else {
        return Err(RuntimeError::NotRunning(container.to_owned()));
    };
    let attended = Attended { engine: engine.clone(), container: container.to_owned(), id, mark };
    if let Some(terminal) = &terminal {
        attended.resize(terminal.size).await;
    }
    let (ours, input_end) = tokio::io::duplex(BUFFER);
    let over = CancellationToken::new();
    let typing = feed(input_end, input, terminal.is_some());
    tokio::spawn(typing.with_cancellation_token_owned(over.clone()));
    let (stdout, stdout_end) = tokio::io::duplex(BUFFER);
    let (stderr, stderr_end) = tokio::io::duplex(BUFFER);
    tokio::spawn(async move {
        // The connection is there as long as either half of it is.
        let _over = over.drop_guard();
        part(output, stdout_end, stderr_end).await;
    });
    let (control, wishes) = mpsc::channel(WISHES);
    let (tell, ended) = oneshot::channel();
    tokio::spawn(attended.attend(end, wishes, tell));
    let errors = terminal.is_none().then(|| Box::new(stderr) as Box<_>);
    Ok(Session { input: Box::new(ours), output: Box::new(stdout), errors, control, ended })
}

/// Connects to a port of the container's own loopback, from inside.
pub(super) async fn relay(
    engine: &Engine,
    container: &str,
    port: u16,
) -> Result<Box<dyn session::Stream>, RuntimeError> {
    let session = exec(engine, container, relay::command(port)).await?;
    relay::connection(session, container, port).await
}

async fn create(engine: &Engine, container: &str, command: Command, mark: &str) -> Result<String, RuntimeError> {
    let Command { argv, env, terminal } = command;
    let of_terminal = terminal
        .iter()
        .flat_map(|Terminal { term, size }| [format!("TERM={term}"), format!("{SIZE}={} {}", size.rows, size.columns)]);
    let env = env.into_iter().map(|(name, value)| format!("{name}={value}"));
    let env = env.chain(of_terminal).chain([mark.to_owned()]);
    let cmd = ["/bin/bash".to_owned(), format!("{PLATFORM}/session")].into_iter().chain(argv);
    let options = CreateExecOptions {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(terminal.is_some()),
        env: Some(env.collect()),
        cmd: Some(cmd.collect()),
        user: Some(format!("{UID}:{UID}")),
        working_dir: Some("/app".to_owned()),
        ..CreateExecOptions::default()
    };
    match engine.docker.create_exec(container, options).await {
        Ok(made) => Ok(made.id),
        Err(Error::DockerResponseServerError { status_code: 404 | 409, .. }) => {
            Err(RuntimeError::NotRunning(container.to_owned()))
        }
        Err(error) => Err(failed(format!("preparing a program in {container}"))(error)),
    }
}

/// Returns when the program has ended, at `since` or later, or when that cannot be known any more.
async fn died(engine: Engine, id: String, since: Timestamp) {
    let filters = HashMap::from([("event", vec!["exec_die"])]);
    let options = EventsOptionsBuilder::default().since(&since.as_second().to_string()).filters(&filters).build();
    let mut events = std::pin::pin!(engine.docker.events(Some(options)));
    while let Some(Ok(event)) = events.next().await {
        let attributes = event.actor.and_then(|actor| actor.attributes).unwrap_or_default();
        if attributes.get("execID") == Some(&id) {
            return;
        }
    }
}

/// Carries what is typed to the program.
async fn feed(mut from: DuplexStream, mut input: Pin<Box<dyn AsyncWrite + Send>>, terminal: bool) {
    if tokio::io::copy(&mut from, &mut input).await.is_ok() {
        if terminal {
            let _ = input.write_all(&[END_OF_INPUT]).await;
            let _ = input.flush().await;
            // The connection's end would end the program.
            std::future::pending::<()>().await;
        }
        let _ = input.shutdown().await;
    }
}

/// Parts what Docker sends in one stream. What nobody reads any more is thrown away, so that the rest still flows.
async fn part(mut output: Output, mut stdout: DuplexStream, mut stderr: DuplexStream) {
    while let Some(Ok(piece)) = output.next().await {
        let _ = match piece {
            LogOutput::StdErr { message } => stderr.write_all(&message).await,
            LogOutput::StdOut { message } | LogOutput::Console { message } => stdout.write_all(&message).await,
            LogOutput::StdIn { .. } => Ok(()),
        };
    }
}

struct Attended {
    engine: Engine,
    container: String,
    id: String,
    mark: String,
}

impl Attended {
    /// Until it has ended, and whoever has the session has let go of it.
    async fn attend(
        self,
        mut end: Pin<Box<impl Future<Output = ()> + Send>>,
        mut wishes: mpsc::Receiver<Control>,
        tell: oneshot::Sender<Ended>,
    ) {
        let mut tell = Some(tell);
        loop {
            tokio::select! {
                () = &mut end, if tell.is_some() => {
                    let ended = self.ended().await;
                    if let (Some(tell), Some(ended)) = (tell.take(), ended) {
                        let _ = tell.send(ended);
                    }
                }
                wish = wishes.recv() => match wish {
                    Some(Control::Resize(size)) => self.resize(size).await,
                    Some(Control::Signal(number)) => self.signal(number).await,
                    None => break,
                },
            }
        }
        self.signal(HANGUP).await;
        sleep(FAREWELL).await;
        self.signal(KILL).await;
    }

    async fn ended(&self) -> Option<Ended> {
        let known = self.engine.docker.inspect_exec(&self.id).await.ok()?;
        let code = i32::try_from(known.exit_code?).ok()?;
        // Docker counts as a shell does.
        Some(if (129..=192).contains(&code) { Ended::Signaled(code - 128) } else { Ended::Exited(code) })
    }

    async fn resize(&self, size: TerminalSize) {
        let options = ResizeExecOptions { height: size.rows, width: size.columns };
        if let Err(error) = self.engine.docker.resize_exec(&self.id, options).await {
            tracing::debug!(instance.name = self.container, "a terminal could not be resized: {error}");
        }
    }

    async fn signal(&self, number: i32) {
        let argv = ["/bin/bash", "-c", SIGNAL, "-", &self.mark, &number.to_string()].map(str::to_owned);
        let options = CreateExecOptions {
            cmd: Some(argv.to_vec()),
            user: Some(format!("{UID}:{UID}")),
            ..CreateExecOptions::default()
        };
        let Ok(made) = self.engine.docker.create_exec(&self.container, options).await else { return };
        let options = StartExecOptions { detach: true, ..StartExecOptions::default() };
        let _ = self.engine.docker.start_exec(&made.id, Some(options)).await;
    }
}
