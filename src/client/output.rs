//! Everything the client prints: results on standard output, all else on standard error.
//!
//! Results are a table or a sentence for people, or with `--json` exactly the server's `data`. Status lines are for the
//! person waiting; `--quiet` silences them. Colours only on a terminal, never with `NO_COLOR` (anstream decides).

use std::io::{self, IsTerminal as _, Write as _};

use anstyle::{AnsiColor, Style};
use comfy_table::{Table, presets};
use serde_json::Value;

use super::error::{Error, Kind};

const BOLD: Style = Style::new().bold();
const RED: Style = AnsiColor::Red.on_default().bold();
const CYAN: Style = AnsiColor::Cyan.on_default();

/// Where a command's words go.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// Machine output was asked for.
    pub json: bool,
    /// No status lines were asked for.
    pub quiet: bool,
}

impl Output {
    /// The result of a command: `data` itself with `--json`, else what `human` makes of it (nothing, if empty).
    pub fn result(&self, data: &Value, human: impl FnOnce() -> Result<String, Error>) -> Result<(), Error> {
        let text = if self.json { format!("{data:#}") } else { human()? };
        self.print(&text)
    }

    /// Text for standard output, whatever the mode. Ends with a newline.
    pub fn print(&self, text: &str) -> Result<(), Error> {
        if text.is_empty() {
            return Ok(());
        }
        let newline = if text.ends_with('\n') { "" } else { "\n" };
        self.raw(format!("{text}{newline}").as_bytes())
    }

    /// Bytes for standard output, as they are, at once.
    pub fn raw(&self, bytes: &[u8]) -> Result<(), Error> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|error| Error::output(&error))
    }

    /// Tells what was done or found.
    pub fn status(&self, text: impl AsRef<str>) {
        if !self.quiet {
            let _ = writeln!(anstream::stderr(), "{}", text.as_ref());
        }
    }

    /// Tells what is being waited for; only somebody at a terminal wonders.
    pub fn waiting(&self, text: impl AsRef<str>) {
        if io::stderr().is_terminal() {
            self.status(text);
        }
    }

    /// Tells what to do next.
    pub fn hint(&self, text: impl AsRef<str>) {
        if !self.quiet {
            let _ = writeln!(anstream::stderr(), "{CYAN}hint:{CYAN:#} {}", text.as_ref());
        }
    }

    /// Tells why the command failed and what to try; `--quiet` does not silence it.
    pub fn error(&self, error: &Error) {
        if matches!(error.kind, Kind::BrokenPipe | Kind::Program(_)) {
            return;
        }
        let mut stderr = anstream::stderr();
        let _ = writeln!(stderr, "{RED}error:{RED:#} {}", error.message);
        for hint in &error.hints {
            let _ = writeln!(stderr, "{CYAN}hint:{CYAN:#} {hint}");
        }
    }
}

/// A table without lines, as `ls` and `ps` print: easy to read, easy to cut.
pub fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    for row in rows {
        table.add_row(row.map(|cell| visible(&cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// Names and values, one pair a line, the names aligned. A name without a value has nothing to tell.
pub fn fields<const N: usize>(pairs: [(&str, String); N]) -> String {
    let told = || pairs.iter().filter(|(_, value)| !value.is_empty());
    let width = told().map(|(name, _)| name.len()).max().unwrap_or_default();
    let lines: Vec<_> = told().map(|(name, value)| format!("{name:width$}  {}", visible(value))).collect();
    lines.join("\n")
}

/// A headline above a table.
pub fn headline(text: &str) -> String {
    if io::stdout().is_terminal() && anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never {
        format!("{BOLD}{}{BOLD:#}", visible(text))
    } else {
        visible(text)
    }
}

/// Text from elsewhere without the power to move a terminal's cursor or to change its colours.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' && c != '\t' { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// An RFC 3339 time as people read it: to the second, in UTC. What is no time is shown as it came.
pub fn time(text: &str) -> String {
    match text.parse::<jiff::Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
        Err(_) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_no_lines_and_no_trailing_blanks() {
        let rows = [["a".to_owned(), "1".to_owned()], ["long-name".to_owned(), String::new()]];
        assert_eq!(table(["NAME", "SIZE"], rows), "NAME       SIZE\na          1\nlong-name");
        let pairs = [("Name", "a".into()), ("Something else", String::new()), ("Address", "b".into())];
        assert_eq!(fields(pairs), "Name     a\nAddress  b");
    }

    #[test]
    fn foreign_text_cannot_steer_the_terminal() {
        assert_eq!(visible("a\u{1b}[31mb\rc\nd"), "a\\u{1b}[31mb\\rc\nd");
        assert!(!table(["X"], [["\u{1b}]0;x\u{7}".to_owned()]]).contains('\u{1b}'));
    }

    #[test]
    fn times_are_short() {
        assert_eq!(time("2017-04-12T17:43:28.000+00:00"), "2017-04-12 17:43:28Z");
        assert_eq!(time("2017-04-12T19:43:28.123+02:00"), "2017-04-12 17:43:28Z");
        assert_eq!(time("soon"), "soon");
    }
}
