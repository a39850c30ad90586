//! Questions to the person at the terminal; without a terminal the answers are lines of standard input, in the same order.
//!
//! Passwords are never echoed, and questions go to standard error: standard output holds results only.

use std::io::{self, IsTerminal as _, Write as _};

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
                let mut stderr = io::stderr();
                let asked = write!(stderr, "{question}: ").and_then(|()| stderr.flush());
                asked.map_err(|error| Error::io("could not ask", &error))?;
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
        let ask = dialoguer::Password::new().with_prompt(question).report(false);
        ask.interact().map_err(interrupted)
    }

    /// A password to be set; asked twice at a terminal.
    pub fn new_password(self, question: &str) -> Result<String, Error> {
        if !self.terminal {
            return stdin_password(question);
        }
        let ask = dialoguer::Password::new().with_prompt(question).report(false);
        ask.with_confirmation("Once more", "They differ, please again.").interact().map_err(interrupted)
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
        Ok(0) => Err(missing(question)),
        Ok(_) => Ok(line),
        Err(error) => Err(Error::io("could not read standard input", &error)),
    }
}

fn missing(question: &str) -> Error {
    let wanted = question.to_lowercase();
    Error::usage(format!("standard input has no line for the {wanted}"))
        .hint("run it at a terminal to be asked, or see the options in `--help`")
}

fn interrupted(error: dialoguer::Error) -> Error {
    let dialoguer::Error::IO(error) = error;
    match error.kind() {
        io::ErrorKind::Interrupted => Error::new(Kind::Interrupted, "interrupted"),
        _ => Error::io("could not ask", &error),
    }
}
