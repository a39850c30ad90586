//! Somebody at a terminal: a home folder, credentials, `gigalixir` and `git`.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use super::{Project, Server};

/// A terminal in which steps are done one after the other; see the file.
const TERMINAL: &str = include_str!("terminal.py");

/// A person's password in tests.
pub const PASSWORD: &str = "correct horse battery";

/// Somebody at a terminal.
pub struct Person {
    home: TempDir,
    host: String,
}

/// A command that has run.
#[must_use = "say `.ok()` or `.fails()`"]
#[derive(Debug)]
pub struct Ran {
    what: String,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Waits for the end of a program whose outputs are pipes.
    pub(super) fn of(what: String, child: Child) -> Self {
        let Output { status, stdout, stderr } = child.wait_with_output().expect("output");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { what, code: status.code(), stdout: text(stdout), stderr: text(stderr) }
    }

    /// Runs a command to its end.
    pub fn finished(command: Command) -> Self {
        finish(command, "")
    }

    /// It exited 0; returns its stdout.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(
            self.code,
            Some(0),
            "`{}` failed\n--- stdout\n{}\n--- stderr\n{}",
            self.what,
            self.stdout,
            self.stderr
        );
        self.stdout
    }

    /// It exited 0; returns its stderr.
    #[track_caller]
    pub fn ok_stderr(self) -> String {
        let stderr = self.stderr.clone();
        self.ok();
        stderr
    }

    /// It exited with something else than 0; returns both outputs.
    #[track_caller]
    pub fn fails(self) -> String {
        assert!(
            self.code.is_some_and(|c| c != 0),
            "`{}` should fail: {:?}\n{}{}",
            self.what,
            self.code,
            self.stdout,
            self.stderr
        );
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl Person {
    /// Somebody who has never been here.
    pub fn stranger(server: &Server) -> Self {
        Self { home: tempfile::tempdir().expect("home"), host: server.url() }
    }

    /// Somebody with an account, made through the client and the code in the mail.
    pub fn sign_up(server: &Server, email: &str) -> Self {
        Self::sign_up_at_home(server, email, Self::stranger(server))
    }

    /// The same for somebody whose home is there already.
    pub fn sign_up_at_home(server: &Server, email: &str, stranger: Self) -> Self {
        let person = stranger;
        let uuid = person.run(&["signup:start", "-e", email]).ok();
        let code = newest_code(server, email);
        person
            .run_with_input(&["signup:finish", "--uuid", uuid.trim(), "--code", &code, "--password-stdin"], PASSWORD)
            .ok();
        person
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// `gigalixir ARGS`.
    pub fn run(&self, args: &[&str]) -> Ran {
        self.run_with_input(args, "")
    }

    /// `gigalixir ARGS` with something on standard input.
    pub fn run_with_input(&self, args: &[&str], input: &str) -> Ran {
        let mut command = self.command(env!("CARGO_BIN_EXE_gigalixir"));
        command.args(args).current_dir(self.home.path());
        finish(command, input)
    }

    /// `gigalixir ARGS` in a project's folder.
    pub fn run_in(&self, project: &Project, args: &[&str]) -> Ran {
        let mut command = self.command(env!("CARGO_BIN_EXE_gigalixir"));
        command.args(args).current_dir(project.path());
        finish(command, "")
    }

    /// A program at a terminal of 100 columns and 30 lines, in which the steps (JSON; see `terminal.py`) are done.
    pub fn at_terminal(&self, program: &Command, steps: &serde_json::Value) -> Ran {
        let mut command = self.command("python3");
        command.arg("-c").arg(TERMINAL).arg(steps.to_string()).arg(program.get_program()).args(program.get_args());
        command.current_dir(program.get_current_dir().unwrap_or(self.home())).env("TERM", "xterm-256color");
        finish(command, "")
    }

    /// `gigalixir ARGS` in a project's folder, at such a terminal.
    pub fn run_at_terminal(&self, project: &Project, args: &[&str], steps: &serde_json::Value) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gigalixir"));
        self.at_terminal(command.args(args).current_dir(project.path()), steps)
    }

    /// `git ARGS` in a project's folder.
    pub fn git(&self, project: &Project, args: &[&str]) -> Ran {
        let mut command = self.command("git");
        command.args(args).current_dir(project.path());
        finish(command, "")
    }

    /// A program with this person's environment and nothing else.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.home.path()).env("GIGALIXIR_HOST", &self.host).env("LC_ALL", "C.UTF-8");
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0");
        for (key, value) in [("NAME", "Test"), ("EMAIL", "test@example.com")] {
            command.env(format!("GIT_AUTHOR_{key}"), value).env(format!("GIT_COMMITTER_{key}"), value);
        }
        command
    }
}

/// The code in the newest mail to `email` in the server's outbox.
#[track_caller]
pub fn newest_code(server: &Server, email: &str) -> String {
    let text = newest_mail(server, email);
    let code = text.lines().find_map(|line| line.trim().strip_prefix("Code:"));
    code.unwrap_or_else(|| panic!("no code in the mail:\n{text}")).trim().to_owned()
}

/// The newest mail to `email` in the server's outbox.
#[track_caller]
pub fn newest_mail(server: &Server, email: &str) -> String {
    let outbox = server.data().join("outbox");
    let mut mails: Vec<_> = std::fs::read_dir(&outbox)
        .expect("outbox")
        .flatten()
        .map(|entry| (entry.metadata().and_then(|m| m.modified()).expect("time"), entry.path()))
        .collect();
    mails.sort();
    let texts = mails.iter().rev().map(|(_, path)| std::fs::read_to_string(path).expect("mail"));
    texts.into_iter().find(|text| text.contains(email)).expect("a mail to that address")
}

pub(super) fn finish(mut command: Command, input: &str) -> Ran {
    let what = format!("{command:?}");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect(&what);
    let (mut stdin, input) = (child.stdin.take().expect("stdin"), input.to_owned());
    // Beside, since a program may read no more before its output is taken. One that does not read its input closes the
    // pipe, which is fine.
    let typing = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let ran = Ran::of(what, child);
    let _ = typing.join();
    ran
}
