//! This side's terminal while a program over there has it: raw, and given back as it was on every way out.

use std::io::{IsTerminal as _, stdin, stdout};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use crate::api::inside::Terminal;

/// A terminal in raw mode, until this is dropped.
pub struct Raw(Termios);

impl Raw {
    /// Makes standard input's terminal raw.
    pub fn enter() -> std::io::Result<Self> {
        let before = tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.0);
    }
}

/// The terminal in front of the person, if there is one on both sides.
pub fn present() -> Option<Terminal> {
    if !stdin().is_terminal() || !stdout().is_terminal() {
        return None;
    }
    let (columns, rows) = size();
    let term = std::env::var("TERM").unwrap_or_else(|_| "xterm".to_owned());
    Some(Terminal { term, columns, rows })
}

/// Columns and rows.
pub fn size() -> (u16, u16) {
    tcgetwinsize(stdout()).ok().filter(|size| size.ws_col > 0).map_or((80, 24), |size| (size.ws_col, size.ws_row))
}
