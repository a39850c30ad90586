//! The observer in the terminal: a replica's Erlang node as it is, live. It draws what the platform tells of the node
//! (`/api/apps/A/observer`), so it needs neither Erlang nor wx here, and nothing in the app beyond OTP.

mod draw;
mod erl;
mod state;

use std::io::IsTerminal as _;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use self::state::{Reaction, State};
use super::error::Error;
use super::http::{Api, HttpError};
use crate::api::observer::{ObserverQuery, Snapshot};

const REFRESH: Duration = Duration::from_secs(2);

pub use erl::observe;

/// Asks for one snapshot.
pub async fn snapshot(api: &Api, app: &str, query: &ObserverQuery) -> Result<super::http::Answer, HttpError> {
    let given = [
        ("replica", query.replica.clone()),
        ("sort", query.sort.clone()),
        ("limit", query.limit.map(|limit| limit.to_string())),
        ("tree", query.tree.clone()),
    ];
    let given: Vec<(&str, &str)> = given.iter().filter_map(|(key, value)| Some((*key, value.as_deref()?))).collect();
    api.send_empty(reqwest::Method::GET, &["api", "apps", app, "observer"], &given).await
}

/// Shows the node until the person has seen enough. The terminal is as it was before, however this ends.
pub async fn run(api: &Api, app: &str, query: ObserverQuery) -> Result<(), Error> {
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Error::usage("`--tui` needs a terminal").hint("`--json` prints one snapshot"));
    }
    // What can be refused is refused before the screen is taken.
    let first: Snapshot = snapshot(api, app, &query).await?.read(api)?;
    let mut terminal = ratatui::try_init().map_err(|error| Error::io("could not prepare the terminal", &error))?;
    let shown = show(&mut terminal, api, app, State::new(app, query, first)).await;
    ratatui::restore();
    shown
}

async fn show(terminal: &mut ratatui::DefaultTerminal, api: &Api, app: &str, mut state: State) -> Result<(), Error> {
    let failed = |error: std::io::Error| Error::io("could not draw", &error);
    let mut keys = keys();
    let mut ticks = interval(REFRESH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        terminal.draw(|frame| draw::draw(frame, &state)).map_err(failed)?;
        let refresh = tokio::select! {
            event = keys.recv() => match event {
                Some(Event::Key(key)) => match state.press(&key) {
                    Reaction::Quit => return Ok(()),
                    Reaction::Refresh => true,
                    Reaction::Nothing => false,
                },
                Some(_) => false,
                None => return Ok(()),
            },
            _ = ticks.tick() => !state.paused,
        };
        if refresh {
            let answer = snapshot(api, app, state.query()).await;
            state.take(answer.and_then(|answer| answer.read(api)).map_err(|error| error.to_string()));
        }
    }
}

/// What is typed. The thread that waits for it ends with the process.
fn keys() -> mpsc::Receiver<Event> {
    let (tell, keys) = mpsc::channel(16);
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if tell.blocking_send(event).is_err() {
                return;
            }
        }
    });
    keys
}
