//! The grammar of `.netrc`, and edits that touch nothing but our own machines' entries.
//!
//! Pure: bytes in, bytes out. The file belongs to the person, so every byte of comments, macros, other machines' entries,
//! odd spacing and line endings comes out as it went in; what cannot be read with certainty is refused rather than edited.
//! Read as curl reads it, since git does: quotes and `\` escapes inside them, `#` where a keyword may stand begins a
//! comment, a macro ends at an empty line, `default` hides what follows. Netrc knows no ports.

use std::ops::Range;

use thiserror::Error;

/// A parsed `.netrc`, still holding its bytes.
#[derive(Debug)]
pub struct Netrc<'a> {
    text: &'a [u8],
    entries: Vec<Entry>,
    default_at: Option<usize>,
    open_macro: bool,
}

/// Why a `.netrc` is left alone. Never quotes the file: what stands at the wrong place may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NetrcError {
    /// Something other than a keyword.
    #[error("line {line} has something else where a keyword (`machine`, `login`, `password`, …) should be")]
    NotAKeyword {
        /// Counted from 1.
        line: usize,
    },
    /// A keyword at the end of the file.
    #[error("line {line} ends with `{keyword}`, but its value is missing")]
    NoValue {
        /// Counted from 1.
        line: usize,
        /// The keyword.
        keyword: &'static str,
    },
    /// A quote without its partner.
    #[error("line {line} opens a quote that is never closed")]
    OpenQuote {
        /// Counted from 1.
        line: usize,
    },
    /// Not even quoting would make every program read it alike.
    #[error("the {what} has a blank, a quote, a backslash or a control character in it, or begins with `#`")]
    Unwritable {
        /// Which value.
        what: &'static str,
    },
}

#[derive(Debug)]
struct Entry {
    machine: Vec<u8>,
    /// Just behind the machine's name.
    name_end: usize,
    login: Option<Word>,
    password: Option<Word>,
    /// The entry's words, in runs that only white space interrupts: between them are comments and macros.
    runs: Vec<Range<usize>>,
}

#[derive(Debug)]
struct Word {
    span: Range<usize>,
    value: Vec<u8>,
}

type Edit = (Range<usize>, Vec<u8>);

impl<'a> Netrc<'a> {
    /// Reads a whole file.
    pub fn parse(text: &'a [u8]) -> Result<Self, NetrcError> {
        let mut netrc = Self { text, entries: Vec::new(), default_at: None, open_macro: false };
        let mut lexer = Lexer { text, at: 0 };
        let mut in_machine = false;
        while let Some(gap) = lexer.next_keyword()? {
            let (keyword, start) = (gap.word, gap.start);
            if keyword == "default" {
                netrc.default_at.get_or_insert(start);
                in_machine = false;
                continue;
            }
            let value = lexer.value(keyword)?;
            match keyword {
                "macdef" => netrc.open_macro = lexer.skip_macro(),
                "machine" => {
                    let run = start..value.span.end;
                    let name_end = value.span.end;
                    netrc.entries.push(Entry {
                        machine: value.value,
                        name_end,
                        login: None,
                        password: None,
                        runs: vec![run],
                    });
                    in_machine = true;
                }
                _ if in_machine => {
                    if let Some(entry) = netrc.entries.last_mut() {
                        entry.take(keyword, start, value, gap.only_blanks_before);
                    }
                }
                _ => {}
            }
        }
        Ok(netrc)
    }

    /// Login and password of a machine: its first entry's, as curl takes it. `default` is nobody's key to a platform.
    pub fn find(&self, machine: &str) -> Option<(String, String)> {
        let entry = self.of(machine).next()?;
        let text = |word: &Option<Word>| String::from_utf8(word.as_ref()?.value.clone()).ok();
        Some((text(&entry.login)?, text(&entry.password)?))
    }

    /// Whether the file has any entry for a machine.
    pub fn has(&self, machine: &str) -> bool {
        self.of(machine).next().is_some()
    }

    /// All machines whose entry is exactly this login and password.
    pub fn machines_of(&self, login: &str, password: &str) -> Vec<String> {
        let is = |word: &Option<Word>, text: &str| word.as_ref().is_some_and(|word| word.value == text.as_bytes());
        let ours = self.entries.iter().filter(|entry| is(&entry.login, login) && is(&entry.password, password));
        ours.filter_map(|entry| String::from_utf8(entry.machine.clone()).ok()).collect()
    }

    /// The file with this one entry for a machine. An entry that stands is changed in place; a new one goes to the end,
    /// or before `default`, behind which nothing is found.
    pub fn with(&self, machine: &str, login: &str, password: &str) -> Result<Vec<u8>, NetrcError> {
        for (what, text) in [("machine name", machine), ("login", login), ("password", password)] {
            if !is_plain(text) {
                return Err(NetrcError::Unwritable { what });
            }
        }
        let found = |entry: &&Entry| self.default_at.is_none_or(|default| entry.name_end < default);
        let kept = self.of(machine).find(found);
        let mut edits = match kept {
            Some(entry) => entry.values_become(login, password),
            None => vec![self.insertion(machine, login, password)],
        };
        for entry in self.of(machine).filter(|entry| kept.is_none_or(|kept| !std::ptr::eq(*entry, kept))) {
            edits.extend(self.removal(entry));
        }
        Ok(self.apply(edits))
    }

    /// The file without a machine.
    pub fn without(&self, machine: &str) -> Vec<u8> {
        self.apply(self.of(machine).flat_map(|entry| self.removal(entry)).collect())
    }

    fn of<'s>(&'s self, machine: &'s str) -> impl Iterator<Item = &'s Entry> + 's {
        self.entries.iter().filter(move |entry| entry.machine.eq_ignore_ascii_case(machine.as_bytes()))
    }

    fn insertion(&self, machine: &str, login: &str, password: &str) -> Edit {
        let newline = self.newline();
        let entry = format!("machine {machine}{newline}\tlogin {login}{newline}\tpassword {password}{newline}");
        if let Some(default) = self.default_at {
            let line = self.blanks_before(default);
            let at = if self.is_line_start(line) { line } else { default };
            return (at..at, entry.into_bytes());
        }
        let end = self.text.len();
        let mut before = String::new();
        if !self.is_line_start(end) {
            before.push_str(newline);
        }
        if self.open_macro {
            before.push_str(newline);
        }
        (end..end, (before + &entry).into_bytes())
    }

    fn removal(&self, entry: &Entry) -> Vec<Edit> {
        let gone = entry.runs.iter().map(|run| {
            let (start, mut end) = (self.blanks_before(run.start), run.end);
            end += self.text[end..].iter().take_while(|byte| is_blank(**byte)).count();
            let rest = &self.text[end..];
            let newline = if rest.starts_with(b"\r\n") { 2 } else { usize::from(rest.starts_with(b"\n")) };
            match (self.is_line_start(start), rest.is_empty() || newline > 0) {
                (true, true) => start..end + newline,
                (true, false) => run.start..end,
                (false, true) => start..end,
                (false, false) => start..run.end,
            }
        });
        gone.map(|range| (range, Vec::new())).collect()
    }

    fn apply(&self, mut edits: Vec<Edit>) -> Vec<u8> {
        edits.sort_by_key(|(range, _)| range.start);
        let mut out = Vec::with_capacity(self.text.len() + 128);
        let mut done = 0;
        for (range, replacement) in edits {
            let start = range.start.max(done);
            out.extend_from_slice(&self.text[done..start]);
            out.extend_from_slice(&replacement);
            done = range.end.max(start);
        }
        out.extend_from_slice(&self.text[done..]);
        out
    }

    fn newline(&self) -> &'static str {
        let first = self.text.iter().position(|byte| *byte == b'\n');
        if first.is_some_and(|at| at > 0 && self.text[at - 1] == b'\r') { "\r\n" } else { "\n" }
    }

    fn blanks_before(&self, at: usize) -> usize {
        at - self.text[..at].iter().rev().take_while(|byte| is_blank(**byte)).count()
    }

    fn is_line_start(&self, at: usize) -> bool {
        at == 0 || self.text[at - 1] == b'\n'
    }
}

impl Entry {
    fn take(&mut self, keyword: &str, start: usize, value: Word, only_blanks_before: bool) {
        let end = value.span.end;
        match self.runs.last_mut().filter(|_| only_blanks_before) {
            Some(run) => run.end = end,
            None => self.runs.push(start..end),
        }
        match keyword {
            "login" | "user" => self.login = Some(value),
            "password" | "passwd" => self.password = Some(value),
            _ => {}
        }
    }

    fn values_become(&self, login: &str, password: &str) -> Vec<Edit> {
        let one = |word: &Option<Word>, keyword: &str, value: &str| match word {
            Some(word) => (word.span.clone(), value.as_bytes().to_vec()),
            None => (self.name_end..self.name_end, format!(" {keyword} {value}").into_bytes()),
        };
        vec![one(&self.login, "login", login), one(&self.password, "password", password)]
    }
}

/// What every program that reads `.netrc` reads alike.
fn is_plain(text: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || c.is_control() || c == '"' || c == '\\';
    !text.is_empty() && !text.starts_with('#') && !text.contains(odd)
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

fn is_space(byte: u8) -> bool {
    is_blank(byte) || byte == b'\n' || byte == b'\r'
}

const KEYWORDS: &[&str] =
    &["machine", "default", "login", "user", "password", "passwd", "account", "macdef", "port", "protocol"];

struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
}

struct Keyword {
    word: &'static str,
    start: usize,
    /// No comment and no macro since the word before it.
    only_blanks_before: bool,
}

impl Lexer<'_> {
    fn next_keyword(&mut self) -> Result<Option<Keyword>, NetrcError> {
        let before = self.at;
        // A macro's body lies behind `at` already; it ends with its line, so the next word never touches it.
        let mut only_blanks_before = before == 0 || !self.text[before - 1..].starts_with(b"\n");
        loop {
            self.skip_space();
            match self.text.get(self.at) {
                None => return Ok(None),
                Some(b'#') => {
                    only_blanks_before = false;
                    self.at += self.text[self.at..].iter().take_while(|byte| **byte != b'\n').count();
                }
                Some(_) => break,
            }
        }
        let start = self.at;
        let line = self.line();
        let word = self.word()?.value;
        let known = KEYWORDS.iter().find(|keyword| keyword.as_bytes() == word);
        let word = *known.ok_or(NetrcError::NotAKeyword { line })?;
        Ok(Some(Keyword { word, start, only_blanks_before }))
    }

    fn value(&mut self, keyword: &'static str) -> Result<Word, NetrcError> {
        let line = self.line();
        self.skip_space();
        if self.at == self.text.len() {
            return Err(NetrcError::NoValue { line, keyword });
        }
        self.word()
    }

    fn skip_space(&mut self) {
        self.at += self.text[self.at..].iter().take_while(|byte| is_space(**byte)).count();
    }

    fn word(&mut self) -> Result<Word, NetrcError> {
        let start = self.at;
        if self.text[start] != b'"' {
            self.at += self.text[start..].iter().take_while(|byte| !is_space(**byte)).count();
            return Ok(Word { span: start..self.at, value: self.text[start..self.at].to_vec() });
        }
        let open = NetrcError::OpenQuote { line: self.line() };
        let mut value = Vec::new();
        let mut bytes = self.text[start + 1..].iter().copied();
        let mut length = 1;
        while let Some(byte) = bytes.next() {
            length += 1;
            match byte {
                b'"' => {
                    self.at = start + length;
                    return Ok(Word { span: start..self.at, value });
                }
                b'\n' => break,
                b'\\' => {
                    let escaped = bytes.next().ok_or(open.clone())?;
                    length += 1;
                    value.push(match escaped {
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        other => other,
                    });
                }
                other => value.push(other),
            }
        }
        Err(open)
    }

    /// Passes a macro's body; true when the file ended before the empty line that ends it.
    fn skip_macro(&mut self) -> bool {
        let mut first = true;
        while self.at < self.text.len() {
            let rest = &self.text[self.at..];
            let line = rest.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
            self.at += line.len();
            if !first && line.ends_with(b"\n") && line.iter().all(|byte| is_space(*byte)) {
                return false;
            }
            first = false;
        }
        true
    }

    fn line(&self) -> usize {
        1 + self.text[..self.at].iter().filter(|byte| **byte == b'\n').count()
    }
}

#[cfg(test)]
mod tests;
