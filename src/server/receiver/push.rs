//! One push, from its first byte to its report: take in, wait for the app's turn, decide, deploy, move refs.

use std::sync::Arc;

use futures_util::StreamExt;
use tokio::sync::{MutexGuard, oneshot};

use super::body::Body;
use super::decide::{Verdict, decide};
use super::error::{ReceiverError, Rejected};
use super::intake::{Intake, Unreadable};
use super::interrupt::Interrupt;
use super::protocol::{Command, Request};
use super::report::Report;
use super::{ByteStream, Deploys, Receiver, Room, Still, answer, blocking, checkout, refs, repack, repository};
use crate::server::domain::{AppName, Email, Push};
use crate::server::progress::Progress;
use crate::server::steps;

/// Who pushes where, and what the request's headers ask for.
#[derive(Debug, Clone)]
pub struct Visit {
    /// The app, which the person may push to.
    pub app: AppName,
    /// The person.
    pub by: Email,
    /// `GIGALIXIR-CLEAN: true`.
    pub clean: bool,
    /// `GIGALIXIR-HOT: true`.
    pub hot: bool,
    /// `GIGALIXIR-OR-RESTART: true`.
    pub or_restart: bool,
}

/// See [`Receiver::push`].
pub(super) async fn answer(
    receiver: Arc<Receiver>,
    visit: Visit,
    body: ByteStream,
    gzip: bool,
    deploys: Arc<dyn Deploys>,
    still: Still,
) -> Result<ByteStream, Rejected> {
    let mut body = Body::new(body, gzip, receiver.limits.pack_bytes);
    let request = match body.request(receiver.limits.commands).await {
        Ok(request) => request,
        Err(wrong) => {
            body.drain().await;
            return Err(Rejected::Malformed(wrong));
        }
    };
    if request.commands.is_empty() {
        // A flush alone asks whether a long body would be let in; there is nothing to report.
        body.drain().await;
        return Ok(futures_util::stream::empty().boxed());
    }
    let (progress, listener) = Progress::channel();
    let (tell, report) = oneshot::channel();
    let (capabilities, read) = (request.capabilities, body.wholly_read());
    let session = Session { receiver, visit, deploys, progress, request };
    tokio::spawn(async move {
        // A client that has gone needs no report.
        let _ = tell.send(session.run(body, still).await);
    });
    read.cancelled().await;
    Ok(answer::stream(capabilities, listener, report))
}

struct Session {
    receiver: Arc<Receiver>,
    visit: Visit,
    deploys: Arc<dyn Deploys>,
    progress: Progress,
    request: Request,
}

impl Session {
    async fn run(self, body: Body, still: Still) -> Report {
        let room = self.receiver.room(&self.visit.app);
        let outcome = self.work(body, &room, still).await;
        if outcome.is_ok() {
            repack::when_due(&self.receiver, &self.visit.app);
        }
        outcome.unwrap_or_else(|reason| Report {
            refs: self.commands().map(|command| (command.name.clone(), Err("unpacker error".to_owned()))).collect(),
            unpack: Err(reason),
        })
    }

    /// The report, or why nothing of the push could be looked at.
    async fn work(&self, body: Body, room: &Room, still: Still) -> Result<Report, String> {
        let interrupt = Interrupt::on(self.progress.cancelled());
        let who = (&self.visit.app, &self.visit.by);
        let taken = Intake::take(&self.receiver, who, &self.request, body, interrupt).await;
        let (intake, against) = taken.map_err(|Unreadable(reason)| reason)?;
        steps::reached("push.received");
        // Nobody can remove the app's repository, and so nobody its name, as long as this is held.
        let _turn = self.turn(room).await?;
        still.await?;
        let verdicts = self.verdicts(against).await?;
        let mut outcomes: Vec<_> = verdicts
            .iter()
            .map(|verdict| match verdict {
                Verdict::Refused(reason) => Err(reason.clone()),
                _ => Ok(()),
            })
            .collect();
        if !self.given_up(&mut outcomes) {
            if let Some(index) = verdicts.iter().position(|verdict| *verdict == Verdict::Deployed) {
                outcomes[index] = self.deploy(&self.request.commands[index], &intake).await;
            }
            if !self.given_up(&mut outcomes) {
                self.move_refs(&intake, &mut outcomes).await;
                self.explain(&verdicts, &outcomes).await;
            }
        }
        let refs = self.commands().map(|command| command.name.clone()).zip(outcomes).collect();
        Ok(Report { unpack: Ok(()), refs })
    }

    fn commands(&self) -> impl Iterator<Item = &Command> {
        self.request.commands.iter()
    }

    /// Waits until no other push to the app is at work.
    async fn turn<'a>(&self, room: &'a Room) -> Result<MutexGuard<'a, ()>, String> {
        if let Ok(turn) = room.turn.try_lock() {
            return Ok(turn);
        }
        self.progress.line(format!("Waiting for another push to `{}` to finish ...", self.visit.app)).await;
        tokio::select! {
            turn = room.turn.lock() => Ok(turn),
            () = self.progress.cancelled().cancelled() => Err("cancelled".to_owned()),
        }
    }

    async fn verdicts(&self, against: Vec<Option<String>>) -> Result<Vec<Verdict>, String> {
        let path = self.receiver.path(&self.visit.app);
        let refs = blocking(move || refs::snapshot(&repository::open(&path)?)).await;
        let mut verdicts = decide(&self.request.commands, &refs.map_err(|error: ReceiverError| error.told())?);
        for (verdict, reason) in verdicts.iter_mut().zip(against) {
            if let (Some(reason), false) = (reason, matches!(verdict, Verdict::Refused(_))) {
                *verdict = Verdict::Refused(reason);
            }
        }
        Ok(verdicts)
    }

    /// Of an atomic push nothing is done as soon as one part cannot be; true if so.
    fn given_up(&self, outcomes: &mut [Result<(), String>]) -> bool {
        let give_up = self.request.capabilities.atomic && outcomes.iter().any(Result::is_err);
        if give_up {
            for outcome in outcomes.iter_mut().filter(|outcome| outcome.is_ok()) {
                *outcome = Err("atomic push failed".to_owned());
            }
        }
        give_up || outcomes.iter().all(Result::is_err)
    }

    async fn deploy(&self, command: &Command, intake: &Arc<Intake>) -> Result<(), String> {
        let (mut clean, mut hot, mut or_restart) = (self.visit.clean, self.visit.hot, self.visit.or_restart);
        for option in &self.request.options {
            match option.as_str() {
                "clean" => clean = true,
                "hot" => hot = true,
                "or-restart" => or_restart = true,
                other => {
                    let text = format!(
                        "Warning: the push option `{other}` means nothing here; `clean`, `hot` and `or-restart` do."
                    );
                    self.progress.line(text).await;
                }
            }
        }
        let request = checkout::Wanted {
            app: self.visit.app.clone(),
            commit: command.new,
            work: self.receiver.work(),
            limits: self.receiver.limits.clone(),
        };
        let source = checkout::prepare(request, Arc::clone(intake), &self.progress).await?;
        steps::reached("push.checked_out");
        let push = Push {
            app: self.visit.app.clone(),
            by: self.visit.by.clone(),
            reference: command.name.clone(),
            commit: command.new.to_string(),
            clean,
            hot,
            or_restart,
        };
        self.deploys.deploy(push, source, &self.progress).await
    }

    /// Moves the refs whose outcome is still good; together if the push is atomic, else each by itself.
    async fn move_refs(&self, intake: &Arc<Intake>, outcomes: &mut [Result<(), String>]) {
        let good: Vec<usize> = (0..outcomes.len()).filter(|n| outcomes[*n].is_ok()).collect();
        let commands: Vec<Command> = good.iter().map(|n| self.request.commands[*n].clone()).collect();
        let (path, intake) = (self.receiver.path(&self.visit.app), Arc::clone(intake));
        let atomic = self.request.capabilities.atomic;
        let moved = blocking(move || {
            intake.promote()?;
            let repository = repository::open(&path)?;
            let all: Vec<&Command> = commands.iter().collect();
            let together = refs::apply(&repository, &all);
            Ok::<_, ReceiverError>(match together {
                Err(_) if !atomic => all.iter().map(|command| refs::apply(&repository, &[command])).collect(),
                outcome => vec![outcome; all.len()],
            })
        })
        .await;
        let moved = moved.unwrap_or_else(|error| vec![Err(error.told()); good.len()]);
        steps::reached("push.ref_moved");
        for (n, outcome) in good.into_iter().zip(moved) {
            outcomes[n] = outcome;
        }
    }

    /// Says what a person might not expect.
    async fn explain(&self, verdicts: &[Verdict], outcomes: &[Result<(), String>]) {
        for ((command, verdict), _) in
            self.commands().zip(verdicts).zip(outcomes).filter(|(_, outcome)| outcome.is_ok())
        {
            let deployed = refs::DEPLOYED.contains(&command.name.as_str());
            let text = match verdict {
                Verdict::Deleted if deployed => format!("`{}` is deleted; the app keeps running.", command.name),
                Verdict::Stored if !deployed => {
                    format!("`{}` is stored and not deployed; only `master` and `main` deploy.", command.name)
                }
                _ => continue,
            };
            self.progress.line(text).await;
        }
    }
}
