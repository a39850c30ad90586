//! Visits in replicas over one WebSocket each: a program beside the app's own, one in a job's replica, a tunnel. Each ends
//! with what it is for, when the visitor goes, when they lose their access, and when the API key that they came with is no
//! more (that of an ssh connection is another, see [`super::super::ssh`]).

use std::sync::Arc;
use std::time::Instant;

use axum::extract::ws::WebSocket;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::line::{End, Line};
use crate::api;
use crate::api::inside::{Exec, Told};
use crate::api::job::Attend;
use crate::server::actions::account::ShownKey;
use crate::server::actions::apps::Apps;
use crate::server::actions::enter::{Entrance, login_shell};
use crate::server::actions::{ActionError, Place};
use crate::server::domain::{User, UserId};
use crate::server::runtime::session::{Command, Stream, Terminal, TerminalSize};

/// How the record calls this door.
const DOOR: &str = "the API";
const STOPPING: &str = "the server is stopping";

/// Who comes, and to what.
pub(super) struct Visitor {
    pub(super) apps: Arc<Apps>,
    pub(super) user: User,
    pub(super) key: ShownKey,
    pub(super) app: String,
    pub(super) shutdown: CancellationToken,
    /// Looked at after it was subscribed, and again whenever it changes.
    pub(super) access: watch::Receiver<()>,
    pub(super) _place: Place<UserId>,
}

/// Runs a program, from the message that says which.
pub(super) async fn program(visitor: Visitor, socket: WebSocket) {
    let mut line = Line::open(socket);
    let told = visitor.run(&mut line).await.unwrap_or_else(Told::Failed);
    line.say(&told).await;
    line.close().await;
}

/// Runs a job's program, from the message that says which to the record of its end.
pub(super) async fn job(visitor: Visitor, socket: WebSocket) {
    let mut line = Line::open(socket);
    let told = visitor.attend(&mut line).await.unwrap_or_else(Told::Failed);
    line.say(&told).await;
    line.close().await;
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
    let mut line = Line::open(socket);
    line.carry(stream, visitor.must_go(&entrance)).await;
    visitor.left(&entrance, begun, &format!("port {port}")).await;
    line.close().await;
}

impl Visitor {
    async fn run(&self, line: &mut Line) -> Result<Told, String> {
        let wish: Exec = line.first().await?;
        if wish.command.iter().any(|word| word.contains('\0')) {
            return Err("the command has a NUL in it".into());
        }
        let entrance = self.apps.enter(&self.user, &self.app, wish.replica.as_deref()).await.map_err(in_words)?;
        // Arguments may be secrets; the program's name is enough for the record.
        let name = wish.command.first().cloned().unwrap_or_else(|| "a shell".to_owned());
        let argv = if wish.command.is_empty() { login_shell() } else { wish.command };
        Ok(self.go_in(line, &entrance, (&name, argv), wish.terminal).await?.into())
    }

    async fn attend(&self, line: &mut Line) -> Result<Told, String> {
        let wish: Attend = line.first().await?;
        let attendance = self.apps.attend(&self.user, &self.app, wish.run).await.map_err(in_words)?;
        line.say(&Told::Job(attendance.id())).await;
        let arrived = tokio::select! {
            arrived = self.apps.arrive(&attendance) => arrived.map_err(in_words),
            () = line.gone() => Err("the connection was closed".into()),
            () = self.shutdown.cancelled() => Err(STOPPING.into()),
        };
        let program = (attendance.name(), attendance.program());
        let end = match arrived {
            Ok(entrance) => self.go_in(line, &entrance, program, wish.terminal).await,
            Err(why) => Err(why),
        };
        // The next server ends what is left of it.
        if !self.shutdown.is_cancelled() {
            let departed = match &end {
                Ok(End::Ended(ended)) => self.apps.depart(&attendance, Some(ended.code())).await,
                // Its replica has ended, which says more of it than we could.
                Ok(End::Lost) => self.apps.settled(&attendance).await,
                Ok(End::Left(_)) | Err(_) => self.apps.depart(&attendance, None).await,
            };
            departed.map_err(in_words)?;
        }
        Ok(end?.into())
    }

    /// Starts a program there and stays with it.
    async fn go_in(
        &self,
        line: &mut Line,
        entrance: &Entrance,
        (name, argv): (&str, Vec<String>),
        terminal: Option<api::inside::Terminal>,
    ) -> Result<End, String> {
        let terminal = terminal.map(|terminal| Terminal {
            term: terminal.term,
            size: TerminalSize { columns: terminal.columns, rows: terminal.rows },
        });
        let command = Command { argv, env: Default::default(), terminal };
        let session = self.apps.exec(entrance, command).await.map_err(in_words)?;
        let begun = Instant::now();
        self.apps.entered(entrance, DOOR);
        line.say(&Told::Started(entrance.instance.name.clone())).await;
        let end = line.converse(session, self.must_go(entrance)).await;
        self.left(entrance, begun, name).await;
        Ok(end)
    }

    /// Why the visit has to end, once it has to.
    async fn must_go(&self, entrance: &Entrance) -> String {
        let mut access = self.access.clone();
        let banished = async {
            loop {
                if let Err(error) = self.may_stay(entrance).await {
                    return in_words(error);
                }
                // The sender lives in the store, which outlives every visit.
                if access.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::select! {
            () = self.shutdown.cancelled() => STOPPING.to_owned(),
            why = banished => why,
        }
    }

    async fn may_stay(&self, entrance: &Entrance) -> Result<(), ActionError> {
        self.apps.still_holds(&self.key).await?;
        self.apps.may_stay(entrance).await
    }

    async fn left(&self, entrance: &Entrance, begun: Instant, what: &str) {
        if let Err(error) = self.apps.left(entrance, DOOR, begun.elapsed(), what).await {
            // The app may have been destroyed, which ends its visits.
            tracing::debug!(%error, "a visit was not recorded");
        }
    }
}

fn in_words(error: ActionError) -> String {
    if let ActionError::Internal(cause) = &error {
        tracing::error!(cause = %cause, "a visit failed");
    }
    error.to_string()
}
