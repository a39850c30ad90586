//! Questions to the person at the terminal; without a terminal the answers are lines of standard input, in the same order.
//!
//! Passwords are never echoed, and questions go to standard error: standard output holds results only.

use std::io::{self, BufRead, IsTerminal as _, Write as _};

use rustix::termios::{self, LocalModes, OptionalActions, SpecialCodeIndex, Termios};

use super::error::{Error, Kind};

/// Where answers come from.
#[derive(Debug, Clone, Copy)]
pub struct Prompt {
    terminal: bool,
}

impl Prompt {
    /// Asks at the terminal if there is one.
    pub fn detect() -> Self {
        Self { terminal: io::stdin().is_terminal() && io::stderr().is_terminal() }
    }

    /// Whether a person can be asked again.
    pub fn is_terminal(self) -> bool {
        self.terminal
    }

    /// One line of text, not empty.
    pub fn line(self, question: &str) -> Result<String, Error> {
        loop {
            if self.terminal {
                ask(&format!("{question}: "))?;
            }
            let line = stdin_line(question)?;
            let line = line.trim();
            if !line.is_empty() {
                return Ok(line.to_owned());
            }
            if !self.terminal {
                return Err(missing(question));
            }
        }
    }

    /// A password that exists; asked once, not echoed.
    pub fn password(self, question: &str) -> Result<String, Error> {
        if !self.terminal {
            return stdin_password(question);
        }
        loop {
            let password = silent_line(question)?;
            if !password.is_empty() {
                return Ok(password);
            }
        }
    }

    /// A password to be set; asked twice at a terminal.
    pub fn new_password(self, question: &str) -> Result<String, Error> {
        loop {
            let password = self.password(question)?;
            if !self.terminal || password == silent_line("Once more")? {
                return Ok(password);
            }
            ask("They differ, please again.\n")?;
        }
    }
}

/// A line of standard input as a password: only its line ending is cut off.
pub fn stdin_password(question: &str) -> Result<String, Error> {
    let line = stdin_line(question)?;
    let password = line.trim_end_matches('\n').trim_end_matches('\r');
    if password.is_empty() { Err(missing(question)) } else { Ok(password.to_owned()) }
}

fn stdin_line(question: &str) -> Result<String, Error> {
    let mut line = String::new();
    match io::stdin().read_line(&mut line) {
        Ok(0) => {
            // Ctrl-D leaves the cursor behind the question.
            if io::stdin().is_terminal() {
                ask("\n")?;
            }
            Err(missing(question))
        }
        Ok(_) => Ok(line),
        Err(error) => Err(Error::io("could not read standard input", &error)),
    }
}

fn missing(question: &str) -> Error {
    let wanted = question.to_lowercase();
    if io::stdin().is_terminal() {
        return Error::new(Kind::Interrupted, format!("nothing was typed for the {wanted}"));
    }
    Error::usage(format!("standard input has no line for the {wanted}"))
        .hint("run it at a terminal to be asked, or see the options in `--help`")
}

fn ask(text: &str) -> Result<(), Error> {
    let mut stderr = io::stderr();
    let asked = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
    asked.map_err(|error| Error::io("could not ask", &error))
}

const CTRL_C: u8 = 3;

/// A line from the terminal that is not shown while it is typed.
fn silent_line(question: &str) -> Result<String, Error> {
    let terminal = |error: io::Error| Error::io("could not read the terminal", &error);
    let silence = Silence::begin().map_err(|error| terminal(error.into()))?;
    ask(&format!("{question}: "))?;
    let (line, end) = read_line(&mut io::stdin().lock()).map_err(terminal)?;
    drop(silence);
    ask("\n")?;
    match end {
        Some(CTRL_C) => {
            // As the terminal would have done it: to this process and to the script around it.
            let _ = rustix::process::kill_current_process_group(rustix::process::Signal::INT);
            Err(Error::new(Kind::Interrupted, "interrupted"))
        }
        None => Err(missing(question)),
        Some(_) => String::from_utf8(line).map_err(|_| Error::usage("what was typed is not UTF-8")),
    }
}

/// Reads up to a newline or Ctrl-C and tells which; `None` is the end of input.
fn read_line(input: &mut impl BufRead) -> io::Result<(Vec<u8>, Option<u8>)> {
    let mut line = Vec::new();
    loop {
        let bytes = match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            bytes => bytes?,
        };
        if bytes.is_empty() {
            return Ok((line, None));
        }
        let end = bytes.iter().position(|byte| matches!(*byte, b'\n' | CTRL_C));
        let length = end.unwrap_or(bytes.len());
        let last = end.map(|end| bytes[end]);
        line.extend_from_slice(&bytes[..length]);
        input.consume(length + usize::from(end.is_some()));
        if last.is_some() {
            return Ok((line, last));
        }
    }
}

/// While it lives, the terminal shows nothing, and Ctrl-C ends the line instead of the process: a process that dies here
/// would leave the person's terminal mute.
struct Silence {
    before: Termios,
}

impl Silence {
    fn begin() -> Result<Self, rustix::io::Errno> {
        let before = termios::tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
        silent.local_modes.insert(LocalModes::ICANON);
        silent.special_codes[SpecialCodeIndex::VEOL] = CTRL_C;
        termios::tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self { before })
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_line_ends_with_enter_or_ctrl_c() {
        let mut typed = io::BufReader::with_capacity(3, &b"secret\nnext\x03rest"[..]);
        assert_eq!(read_line(&mut typed).unwrap(), (b"secret".to_vec(), Some(b'\n')));
        assert_eq!(read_line(&mut typed).unwrap(), (b"next".to_vec(), Some(CTRL_C)));
        assert_eq!(read_line(&mut typed).unwrap(), (b"rest".to_vec(), None));
    }
}
