//! What is shown, and what keys do to it: pure.

use std::collections::HashMap;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::api::observer::{ObserverQuery, Snapshot};

/// What can be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    System,
    Processes,
    Tables,
    Ports,
    Applications,
    Tree,
}

impl Page {
    pub(super) const ALL: [(Self, &str); 6] = [
        (Self::System, "1 System"),
        (Self::Processes, "2 Processes"),
        (Self::Tables, "3 ETS"),
        (Self::Ports, "4 Ports"),
        (Self::Applications, "5 Applications"),
        (Self::Tree, "6 Tree"),
    ];

    pub(super) fn index(self) -> usize {
        Self::ALL.iter().position(|(page, _)| *page == self).unwrap_or_default()
    }
}

/// What a key asks for beyond drawing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    Nothing,
    Refresh,
    Quit,
}

const SORTS: [&str; 3] = ["memory", "reductions", "queue"];
/// Rows that a page key skips.
const LEAP: usize = 20;

pub(super) struct State {
    pub(super) app: String,
    pub(super) page: Page,
    pub(super) row: usize,
    pub(super) paused: bool,
    pub(super) snapshot: Snapshot,
    /// Why the last refresh failed, if it did.
    pub(super) error: Option<String>,
    /// Work done since the snapshot before, by process.
    pub(super) worked: HashMap<String, u64>,
    query: ObserverQuery,
}

impl State {
    pub(super) fn new(app: &str, query: ObserverQuery, snapshot: Snapshot) -> Self {
        // From now on the same replica is asked, even where any was good at first.
        let query = ObserverQuery { replica: Some(snapshot.replica.clone()), ..query };
        let (page, worked) = (Page::Processes, HashMap::new());
        Self { app: app.to_owned(), page, row: 0, paused: false, snapshot, error: None, worked, query }
    }

    pub(super) fn query(&self) -> &ObserverQuery {
        &self.query
    }

    pub(super) fn sort(&self) -> &str {
        self.query.sort.as_deref().unwrap_or(SORTS[0])
    }

    pub(super) fn tree(&self) -> Option<&str> {
        self.query.tree.as_deref()
    }

    /// A new snapshot, or why there is none.
    pub(super) fn take(&mut self, answer: Result<Snapshot, String>) {
        match answer {
            Ok(snapshot) => {
                let before: HashMap<_, _> =
                    self.snapshot.processes.iter().map(|process| (process.pid.clone(), process.reductions)).collect();
                let worked = snapshot
                    .processes
                    .iter()
                    .filter_map(|now| Some((now.pid.clone(), now.reductions.saturating_sub(*before.get(&now.pid)?))));
                self.worked = worked.collect();
                (self.snapshot, self.error) = (snapshot, None);
                self.row = self.row.min(self.rows().saturating_sub(1));
            }
            Err(error) => self.error = Some(error),
        }
    }

    /// How many rows the page has.
    pub(super) fn rows(&self) -> usize {
        match self.page {
            Page::System => 0,
            Page::Processes => self.snapshot.processes.len(),
            Page::Tables => self.snapshot.tables.len(),
            Page::Ports => self.snapshot.ports.len(),
            Page::Applications => self.snapshot.applications.len(),
            Page::Tree => self.snapshot.tree.len(),
        }
    }

    pub(super) fn press(&mut self, key: &KeyEvent) -> Reaction {
        if key.kind == KeyEventKind::Release {
            return Reaction::Nothing;
        }
        let last = self.rows().saturating_sub(1);
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Reaction::Quit,
            KeyCode::Char('q') | KeyCode::Esc => return Reaction::Quit,
            KeyCode::Char(' ' | 'u') => return Reaction::Refresh,
            KeyCode::Char('p') => self.paused = !self.paused,
            KeyCode::Char('s') => return self.sort_otherwise(),
            KeyCode::Char(digit @ '1'..='6') => self.turn_to(digit as usize - '1' as usize),
            KeyCode::Tab | KeyCode::Right => self.turn_to((self.page.index() + 1) % Page::ALL.len()),
            KeyCode::BackTab | KeyCode::Left => {
                self.turn_to((self.page.index() + Page::ALL.len() - 1) % Page::ALL.len())
            }
            KeyCode::Down | KeyCode::Char('j') => self.row = (self.row + 1).min(last),
            KeyCode::Up | KeyCode::Char('k') => self.row = self.row.saturating_sub(1),
            KeyCode::PageDown => self.row = (self.row + LEAP).min(last),
            KeyCode::PageUp => self.row = self.row.saturating_sub(LEAP),
            KeyCode::Home => self.row = 0,
            KeyCode::End => self.row = last,
            KeyCode::Enter if self.page == Page::Applications => return self.open_tree(),
            _ => {}
        }
        Reaction::Nothing
    }

    fn turn_to(&mut self, index: usize) {
        (self.page, self.row) = (Page::ALL[index].0, 0);
    }

    fn sort_otherwise(&mut self) -> Reaction {
        let now = SORTS.iter().position(|sort| *sort == self.sort()).unwrap_or_default();
        self.query.sort = Some(SORTS[(now + 1) % SORTS.len()].to_owned());
        Reaction::Refresh
    }

    fn open_tree(&mut self) -> Reaction {
        self.query.tree = self.snapshot.applications.get(self.row).map(|application| application.name.clone());
        self.turn_to(Page::Tree.index());
        Reaction::Refresh
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn snapshot(reductions: u64) -> Snapshot {
        let process = |pid: &str| json!({"pid": pid, "name": "init", "memory": 1, "reductions": reductions, "queue": 0, "current": "", "status": ""});
        serde_json::from_value(json!({
            "replica": "shop-web-1", "node": "shop@127.64.0.1", "tables": [], "ports": [],
            "processes": [process("<0.0.0>"), process("<0.1.0>")],
            "applications": [
                {"name": "kernel", "version": "1", "description": ""}, {"name": "shop", "version": "1", "description": ""}
            ],
            "system": {
                "otp": "25", "erts": "13", "schedulers": 2, "run_queue": 0, "uptime_ms": 1, "input": 0, "output": 0,
                "reductions": 0, "memory": {}, "processes": 2, "tables": 0, "sees": []
            }
        }))
        .unwrap()
    }

    #[test]
    fn keys_lead_around() {
        let mut state = State::new("shop", ObserverQuery::default(), snapshot(5));
        assert_eq!(state.query().replica.as_deref(), Some("shop-web-1"));
        let mut press = |code| {
            let reaction = state.press(&KeyEvent::new(code, KeyModifiers::NONE));
            (reaction, state.page, state.row, state.sort().to_owned(), state.tree().map(str::to_owned))
        };
        let sort = |text: &str| text.to_owned();
        assert_eq!(press(KeyCode::Down), (Reaction::Nothing, Page::Processes, 1, sort("memory"), None));
        assert_eq!(press(KeyCode::Down).2, 1, "the last row is the last");
        assert_eq!(press(KeyCode::Char('s')), (Reaction::Refresh, Page::Processes, 1, sort("reductions"), None));
        assert_eq!(press(KeyCode::Char('5')).1, Page::Applications);
        press(KeyCode::End);
        let opened = press(KeyCode::Enter);
        assert_eq!(opened, (Reaction::Refresh, Page::Tree, 0, sort("reductions"), Some(sort("shop"))));
        assert_eq!(press(KeyCode::Tab).1, Page::System);
        assert_eq!(press(KeyCode::Char('q')).0, Reaction::Quit);
    }

    #[test]
    fn work_is_told_from_one_snapshot_to_the_next() {
        let mut state = State::new("shop", ObserverQuery::default(), snapshot(5));
        state.take(Ok(snapshot(12)));
        assert_eq!(state.worked["<0.1.0>"], 7);
        state.take(Err("gone".to_owned()));
        assert_eq!((state.error.as_deref(), state.snapshot.processes.len()), (Some("gone"), 2));
    }
}
