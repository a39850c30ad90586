//! The screen.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Row, Table, TableState, Tabs};

use super::super::output::visible;
use super::state::{Page, State};
use crate::api::observer::System;

const KEYS: &str = "q quit  Tab 1-6 page  ↑↓ row  s sort  Enter tree  p pause  Space refresh";
/// Columns below which not all of a process is shown.
const NARROW: u16 = 80;

pub(super) fn draw(frame: &mut Frame<'_>, state: &State) {
    let [head, tabs, body, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Length(1), Constraint::Min(1), Constraint::Length(1)])
            .areas(frame.area());
    let system = &state.snapshot.system;
    let title = format!(
        "{}  {}  {}  OTP {}  up {}  run queue {}",
        state.app,
        state.snapshot.replica,
        state.snapshot.node,
        system.otp,
        duration(system.uptime_ms),
        system.run_queue
    );
    frame.render_widget(Line::styled(visible(&title), Style::new().add_modifier(Modifier::BOLD)), head);
    let selected = Style::new().add_modifier(Modifier::REVERSED);
    let names = Page::ALL.map(|(_, name)| name);
    frame.render_widget(Tabs::new(names).select(state.page.index()).highlight_style(selected), tabs);
    page(frame, body, state);
    let foot_text = match (&state.error, state.paused) {
        (Some(error), _) => format!("not refreshed: {}", visible(error)),
        (None, true) => format!("PAUSED  {KEYS}"),
        (None, false) => KEYS.to_owned(),
    };
    frame.render_widget(Line::styled(foot_text, Style::new().add_modifier(Modifier::DIM)), foot);
}

fn page(frame: &mut Frame<'_>, area: Rect, state: &State) {
    use Constraint::{Fill, Length};
    let seen = &state.snapshot;
    match state.page {
        Page::System => frame.render_widget(Paragraph::new(overview(&seen.system)), area),
        Page::Processes => {
            let mark = |sort: &str, name: &str| format!("{name}{}", if state.sort() == sort { " ▼" } else { "" });
            let header = vec![
                "PID".into(),
                "NAME".into(),
                mark("memory", "MEMORY"),
                mark("reductions", "REDUCTIONS"),
                "WORK".into(),
                mark("queue", "QUEUE"),
                "IN".into(),
            ];
            let rows = seen.processes.iter().map(|one| {
                let worked = state.worked.get(&one.pid).map(u64::to_string).unwrap_or_default();
                let (memory, reductions) = (bytes(one.memory as f64), one.reductions.to_string());
                vec![
                    one.pid.clone(),
                    one.name.clone(),
                    memory,
                    reductions,
                    worked,
                    one.queue.to_string(),
                    one.current.clone(),
                ]
            });
            // In a narrow terminal who it is, its memory and its queue go before the rest.
            let widths = match area.width < NARROW {
                true => [Length(10), Fill(1), Length(9), Length(0), Length(0), Length(6), Length(0)],
                false => [Length(12), Fill(3), Length(10), Length(14), Length(10), Length(9), Fill(3)],
            };
            table(frame, area, state.row, header, rows, &widths);
        }
        Page::Tables => {
            let header = ["NAME", "OBJECTS", "MEMORY", "TYPE", "PROTECTION", "OWNER"].map(String::from).to_vec();
            let rows = seen.tables.iter().map(|one| {
                let memory = bytes(one.memory as f64);
                vec![
                    one.name.clone(),
                    one.size.to_string(),
                    memory,
                    one.kind.clone(),
                    one.protection.clone(),
                    one.owner.clone(),
                ]
            });
            let widths = [Fill(1), Length(10), Length(10), Length(12), Length(11), Length(12)];
            table(frame, area, state.row, header, rows, &widths);
        }
        Page::Ports => {
            let header = ["PORT", "NAME", "READ", "WRITTEN", "OWNER"].map(String::from).to_vec();
            let rows = seen.ports.iter().map(|one| {
                let (input, output) = (bytes(one.input as f64), bytes(one.output as f64));
                vec![one.port.clone(), one.name.clone(), input, output, one.owner.clone()]
            });
            table(frame, area, state.row, header, rows, &[Length(16), Fill(1), Length(10), Length(10), Length(12)]);
        }
        Page::Applications => {
            let header = ["NAME", "VERSION", "DESCRIPTION"].map(String::from).to_vec();
            let rows = seen.applications.iter();
            let rows = rows.map(|one| vec![one.name.clone(), one.version.clone(), one.description.clone()]);
            table(frame, area, state.row, header, rows, &[Fill(1), Length(12), Fill(2)]);
        }
        Page::Tree => {
            let header = vec![
                format!("{} (Enter on an application opens its tree)", state.tree().unwrap_or("no application")),
                "PID".into(),
                "TYPE".into(),
            ];
            let rows = seen.tree.iter().map(|one| {
                let indent = "  ".repeat(one.depth.into());
                vec![format!("{indent}{}", one.name), one.pid.clone(), one.kind.clone()]
            });
            table(frame, area, state.row, header, rows, &[Fill(1), Length(14), Length(12)]);
        }
    }
}

fn table(
    frame: &mut Frame<'_>,
    area: Rect,
    row: usize,
    header: Vec<String>,
    rows: impl Iterator<Item = Vec<String>>,
    widths: &[Constraint],
) {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let rows = rows.map(|cells| Row::new(cells.into_iter().map(|cell| visible(&cell))));
    let table = Table::new(rows, widths)
        .header(Row::new(header).style(bold))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    frame.render_stateful_widget(table, area, &mut TableState::new().with_selected(row));
}

fn overview(system: &System) -> Vec<Line<'static>> {
    let of = |there: Option<u64>, most: Option<u64>| match (there, most) {
        (Some(there), Some(most)) if most > 0 => format!("{there} of {most} ({}%)", there * 100 / most),
        (Some(there), _) => there.to_string(),
        (None, _) => "?".to_owned(),
    };
    let mut lines = vec![
        ("OTP", format!("{}, erts {}", system.otp, system.erts)),
        ("Schedulers", system.schedulers.to_string()),
        ("Run queue", system.run_queue.to_string()),
        ("Up", duration(system.uptime_ms)),
        ("Read, written", format!("{}, {}", bytes(system.input), bytes(system.output))),
        ("Processes", of(Some(system.processes), system.processes_max)),
        ("Ports", of(system.ports, system.ports_max)),
        ("Atoms", of(system.atoms, system.atoms_max)),
        ("ETS tables", of(Some(system.tables), system.tables_max)),
        ("Sees", if system.sees.is_empty() { "no other node".to_owned() } else { system.sees.join(" ") }),
        ("", String::new()),
    ];
    let memory: Vec<(String, String)> = system.memory.iter().map(|(what, size)| (what.clone(), bytes(*size))).collect();
    lines.extend(memory.iter().map(|(what, size)| (what.as_str(), size.clone())));
    lines.into_iter().map(|(name, value)| Line::raw(visible(&format!("{name:16}{value}")))).collect()
}

fn bytes(count: f64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut scaled = (count, 0);
    while scaled.0 >= 1000.0 && scaled.1 + 1 < units.len() {
        scaled = (scaled.0 / 1000.0, scaled.1 + 1);
    }
    let digits = usize::from(scaled.1 > 0);
    format!("{:.digits$} {}", scaled.0, units[scaled.1])
}

fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes}m {}s", seconds % 60),
        (0, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}
