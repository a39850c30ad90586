//! What russh calls. Each callback hands over to the seat, the visit or the gateway it concerns; none waits for a program.

use std::sync::Arc;

use russh::keys::{Algorithm, HashAlg, PublicKey};
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, Disconnect, Error, Pty, Sig};
use tokio::sync::{mpsc, oneshot, watch};

use super::inbox::inbox;
use super::program::{self, Hands};
use super::seats::{CHANGES, Line, Seats, size};
use super::visit::{Admission, Visit};
use super::voice::Voice;
use super::{Gateway, tunnel};
use crate::server::actions::enter::login_shell;
use crate::server::runtime::session::Control;

/// Sent when a visit begins.
pub(super) type Begun = (Arc<Visit>, watch::Receiver<()>);

const TOO_MUCH: &str = "the program does not read its input, and more is waiting than may: it is ended";

/// A client, from its first byte.
pub(super) struct Visitor {
    gateway: Arc<Gateway>,
    begun: Option<oneshot::Sender<Begun>>,
    /// Of somebody whose key is known: their admission, or why they may not in.
    admission: Option<Result<Admission, String>>,
    visit: Option<Arc<Visit>>,
    seats: Seats,
}

impl Visitor {
    pub(super) fn new(gateway: Arc<Gateway>, begun: oneshot::Sender<Begun>) -> Self {
        Self { gateway, begun: Some(begun), admission: None, visit: None, seats: Seats::default() }
    }

    /// A key may be tried if somebody has it. Signatures with SHA-1 are none.
    async fn try_key(&self, key: &PublicKey, algorithm: &Algorithm) -> Auth {
        let sound = !matches!(algorithm, Algorithm::Rsa { hash: None });
        match sound && self.gateway.knows(fingerprint(key)).await {
            true => Auth::Accept,
            false => Auth::reject(),
        }
    }

    /// Somebody has proved to have a key. Why they may not in is told once they can be told anything.
    async fn admit(&mut self, user: &str, key: &PublicKey) -> Auth {
        self.admission = self.gateway.admit(user, fingerprint(key)).await;
        if self.admission.is_some() { Auth::Accept } else { Auth::reject() }
    }

    fn begin(&mut self, session: &mut Session) -> Result<(), Error> {
        match self.admission.take() {
            Some(Ok(admission)) => {
                let (visit, access) = Visit::new(self.gateway.clone(), admission, session.handle());
                self.visit = Some(visit.clone());
                if let Some(begun) = self.begun.take() {
                    // Not there any more when the login took too long.
                    let _ = begun.send((visit, access));
                }
                Ok(())
            }
            Some(Err(reason)) => session.disconnect(Disconnect::ByApplication, &reason, ""),
            None => session.disconnect(Disconnect::ByApplication, "", ""),
        }
    }

    /// The visit, and room for one more channel.
    fn room(&mut self) -> Option<Arc<Visit>> {
        let full = self.seats.count() >= self.gateway.settings.channels;
        self.visit.clone().filter(|visit| !full && !visit.gone.is_cancelled())
    }

    async fn open(&mut self, voice: Voice, reply: ChannelOpenHandle) {
        match self.room() {
            Some(_) => {
                self.seats.open(voice);
                reply.accept().await;
            }
            None => reply.reject(ChannelOpenFailure::ResourceShortage).await,
        }
    }

    async fn forward(&mut self, voice: Voice, host: &str, port: u32, reply: ChannelOpenHandle) {
        let Some(visit) = self.room() else { return reply.reject(ChannelOpenFailure::ResourceShortage).await };
        let Some(port) = tunnel::port(&visit, host, port) else {
            return reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        };
        let (inlet, outlet) = inbox(&visit.backlog);
        let (controls, running) = mpsc::channel(1);
        let (end, closed) = oneshot::channel();
        self.seats.take(voice.channel.id(), Line { inlet: Some(inlet), controls, end });
        let task = tunnel::run(visit.clone(), port, reply, voice, outlet, closed);
        visit.tasks.spawn(async move {
            task.await;
            drop(running);
        });
    }

    /// Starts a channel's program.
    fn start(&mut self, channel: ChannelId, argv: Option<Vec<String>>, session: &mut Session) -> Result<(), Error> {
        let prepared = self.visit.clone().zip(argv).and_then(|(visit, argv)| {
            let (command, voice) = self.seats.begin(channel)?.command(argv);
            Some((visit, command, voice))
        });
        let Some((visit, command, voice)) = prepared else { return session.channel_failure(channel) };
        let (inlet, input) = inbox(&visit.backlog);
        let (sender, controls) = mpsc::channel(CHANGES);
        let (end, ended) = oneshot::channel();
        self.seats.take(channel, Line { inlet: Some(inlet), controls: sender, end });
        visit.tasks.spawn(program::run(visit.clone(), command, voice, Hands { input, controls, end: ended }));
        session.channel_success(channel)
    }

    async fn hear(&mut self, channel: ChannelId, data: &[u8]) {
        let (Some(visit), Some(inlet)) = (&self.visit, self.seats.inlet(channel)) else { return };
        visit.stir();
        inlet.push(data);
        if visit.backlog.bytes() > self.gateway.settings.buffer {
            self.seats.end(channel, TOO_MUCH);
        } else {
            visit.backlog.breathe(data.len()).await;
        }
    }
}

fn fingerprint(key: &PublicKey) -> [u8; 32] {
    let fingerprint = key.fingerprint(HashAlg::Sha256);
    fingerprint.as_bytes().try_into().unwrap_or_default()
}

/// What the channel would give to read is left unread: russh drops it, and the callbacks have it all.
fn voice(channel: Channel<Msg>, session: &Session) -> Voice {
    Voice { channel: channel.split().1, connection: session.handle() }
}

fn answer(session: &mut Session, channel: ChannelId, done: bool) -> Result<(), Error> {
    if done { session.channel_success(channel) } else { session.channel_failure(channel) }
}

impl Handler for Visitor {
    type Error = Error;

    async fn auth_publickey_offered(&mut self, _user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, Error> {
        Ok(self.try_key(offer.public_key, offer.algorithm).await)
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Error> {
        Ok(self.admit(user, key.public_key).await)
    }

    async fn auth_succeeded(&mut self, session: &mut Session) -> Result<(), Error> {
        self.begin(session)
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), Error> {
        self.open(voice(channel, session), reply).await;
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _from: &str,
        _from_port: u32,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), Error> {
        self.forward(voice(channel, session), host, port, reply).await;
        Ok(())
    }

    async fn data(&mut self, channel: ChannelId, data: &[u8], _session: &mut Session) -> Result<(), Error> {
        self.hear(channel, data).await;
        Ok(())
    }

    fn adjust_window(&mut self, _channel: ChannelId, current: u32) -> u32 {
        self.visit.as_ref().map_or(current, |visit| visit.backlog.window())
    }

    async fn channel_eof(&mut self, channel: ChannelId, _session: &mut Session) -> Result<(), Error> {
        self.seats.end_input(channel);
        Ok(())
    }

    async fn channel_close(&mut self, channel: ChannelId, _session: &mut Session) -> Result<(), Error> {
        self.seats.close(channel);
        Ok(())
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        term: &str,
        columns: u32,
        rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Error> {
        let done = self.seats.terminal(channel, term, size(columns, rows));
        answer(session, channel, done)
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), Error> {
        let done = self.seats.variable(channel, name, value);
        answer(session, channel, done)
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        _single: bool,
        _protocol: &str,
        _cookie: &str,
        _screen: u32,
        session: &mut Session,
    ) -> Result<(), Error> {
        session.channel_failure(channel)
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), Error> {
        self.start(channel, Some(login_shell()), session)
    }

    async fn exec_request(&mut self, channel: ChannelId, line: &[u8], session: &mut Session) -> Result<(), Error> {
        self.start(channel, super::call::line(line), session)
    }

    async fn subsystem_request(&mut self, channel: ChannelId, name: &str, session: &mut Session) -> Result<(), Error> {
        self.start(channel, super::call::subsystem(name), session)
    }

    async fn window_change_request(
        &mut self,
        channel: ChannelId,
        columns: u32,
        rows: u32,
        _width: u32,
        _height: u32,
        session: &mut Session,
    ) -> Result<(), Error> {
        let done = self.seats.change(channel, Control::Resize(size(columns, rows)));
        answer(session, channel, done)
    }

    async fn signal(&mut self, channel: ChannelId, signal: Sig, _session: &mut Session) -> Result<(), Error> {
        self.seats.signal(channel, &signal);
        Ok(())
    }
}
