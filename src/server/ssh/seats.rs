//! The channels of a connection: what each was told before its program started, and how to reach it afterwards.

use std::collections::{BTreeMap, HashMap};

use russh::{ChannelId, Sig};
use tokio::sync::{mpsc, oneshot};

use super::inbox::Inlet;
use super::signals;
use super::voice::Voice;
use crate::server::runtime::session::{Command, Control, Terminal, TerminalSize};

/// Variables that a client may set for one program, and their longest value.
const VARIABLES: usize = 32;
const LONGEST: usize = 1024;
/// Changes (signals, sizes) on their way to a program; more are dropped.
pub(super) const CHANGES: usize = 16;

/// A channel.
pub(super) enum Seat {
    /// Open; its program has not been named yet.
    Free(Box<Preparation>),
    /// A program or a tunnel.
    Taken(Line),
}

/// What a program will be started with.
pub(super) struct Preparation {
    pub(super) voice: Voice,
    env: BTreeMap<String, String>,
    terminal: Option<Terminal>,
}

/// How a running program or tunnel is reached. Dropping it ends it.
pub(super) struct Line {
    /// `None` after the end of input.
    pub(super) inlet: Option<Inlet>,
    /// Closed once it has ended.
    pub(super) controls: mpsc::Sender<Control>,
    /// Ends it, and says why.
    pub(super) end: oneshot::Sender<&'static str>,
}

/// All of them.
#[derive(Default)]
pub(super) struct Seats(HashMap<ChannelId, Seat>);

impl Seats {
    /// How many there are, those not counted that have ended.
    pub(super) fn count(&mut self) -> usize {
        self.0.retain(|_, seat| match seat {
            Seat::Free(_) => true,
            Seat::Taken(line) => !line.controls.is_closed(),
        });
        self.0.len()
    }

    /// Adds a channel that waits for its program.
    pub(super) fn open(&mut self, voice: Voice) {
        let preparation = Preparation { env: BTreeMap::new(), terminal: None, voice };
        self.0.insert(preparation.voice.channel.id(), Seat::Free(Box::new(preparation)));
    }

    /// Takes what was told about a channel; a second program on one channel is refused (RFC 4254 6.5).
    pub(super) fn begin(&mut self, channel: ChannelId) -> Option<Preparation> {
        match self.0.remove(&channel)? {
            Seat::Free(preparation) => Some(*preparation),
            taken @ Seat::Taken(_) => {
                self.0.insert(channel, taken);
                None
            }
        }
    }

    /// What was begun is reached by this line.
    pub(super) fn take(&mut self, channel: ChannelId, line: Line) {
        self.0.insert(channel, Seat::Taken(line));
    }

    /// The channel is gone, and with it what runs there.
    pub(super) fn close(&mut self, channel: ChannelId) {
        self.0.remove(&channel);
    }

    /// Ends what runs there, and says why.
    pub(super) fn end(&mut self, channel: ChannelId, reason: &'static str) {
        if let Some(Seat::Taken(line)) = self.0.remove(&channel) {
            // It may have ended at the same time.
            let _ = line.end.send(reason);
        }
    }

    /// What the client sends goes there; `None` if nobody would read it.
    pub(super) fn inlet(&self, channel: ChannelId) -> Option<&Inlet> {
        match self.0.get(&channel)? {
            Seat::Taken(line) => line.inlet.as_ref(),
            Seat::Free(_) => None,
        }
    }

    /// The client sends no more.
    pub(super) fn end_input(&mut self, channel: ChannelId) {
        if let Some(Seat::Taken(line)) = self.0.get_mut(&channel) {
            line.inlet = None;
        }
    }

    /// The program to come shall have a terminal.
    pub(super) fn terminal(&mut self, channel: ChannelId, term: &str, size: TerminalSize) -> bool {
        let Some(Seat::Free(preparation)) = self.0.get_mut(&channel) else { return false };
        // A client that has no terminal itself does not know what kind it wants.
        let term = if term.is_empty() { "dumb" } else { term };
        if is_plain(term) {
            preparation.terminal = Some(Terminal { term: term.to_owned(), size });
        }
        is_plain(term)
    }

    /// The program to come shall have a variable; only those that tell what the client's terminal can do.
    pub(super) fn variable(&mut self, channel: ChannelId, name: &str, value: &str) -> bool {
        let Some(Seat::Free(preparation)) = self.0.get_mut(&channel) else { return false };
        let known = matches!(name, "LANG" | "TERM") || name.strip_prefix("LC_").is_some_and(is_plain);
        if !known || !is_plain(name) || !is_plain(value) || preparation.env.len() >= VARIABLES {
            return false;
        }
        preparation.env.insert(name.to_owned(), value.to_owned());
        true
    }

    /// Another size, or a signal; false if there is no program.
    pub(super) fn change(&self, channel: ChannelId, change: Control) -> bool {
        match self.0.get(&channel) {
            Some(Seat::Taken(line)) => line.controls.try_send(change).is_ok(),
            _ => false,
        }
    }

    /// A signal by its name.
    pub(super) fn signal(&self, channel: ChannelId, signal: &Sig) {
        if let Some(number) = signals::number(signal) {
            self.change(channel, Control::Signal(number));
        }
    }
}

impl Preparation {
    /// The program with all that was told before.
    pub(super) fn command(self, argv: Vec<String>) -> (Command, Voice) {
        (Command { argv, env: self.env, terminal: self.terminal }, self.voice)
    }
}

/// A size as ssh has it; what a terminal cannot be is made what it can.
pub(super) fn size(columns: u32, rows: u32) -> TerminalSize {
    let within = |count: u32| u16::try_from(count).unwrap_or(u16::MAX);
    TerminalSize { columns: within(columns), rows: within(rows) }
}

/// Short printable ASCII: enough for names of locales and terminals.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST && text.bytes().all(|byte| byte.is_ascii_graphic())
}
