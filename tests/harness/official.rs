//! Gigalixir's own client from PyPI, unmodified, at the terminal of somebody who uses our platform.
//!
//! It lives in a virtual environment below `target/`, made on first use. Where PyPI cannot be reached there is no such
//! client, which is said aloud; a test that needs it then ends early.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::http::post;
use super::person::{Ran, finish};
use super::{Person, Project, Server};

/// The release whose habits are the contract.
const VERSION: &str = "1.16.1";

/// Somebody who has only the official client.
pub struct Official {
    pub person: Person,
    program: PathBuf,
    url: String,
    machine: String,
}

impl Official {
    /// `None` where the client cannot be installed.
    pub fn of(server: &Server) -> Option<Self> {
        let program = installed()?;
        let person = Person::stranger(server);
        let (url, machine) = (server.url(), server.api.ip().to_string());
        let rewrite = format!("url.{url}/git.gigalixir.com/.insteadOf");
        let mut git = person.command("git");
        git.args(["config", "--global", &rewrite, "https://git.gigalixir.com/"]);
        finish(git, "").ok();
        Some(Self { person, program, url, machine })
    }

    /// `gigalixir ARGS` in the home folder.
    pub fn run(&self, args: &[&str]) -> Ran {
        self.run_at(self.person.home(), args, "")
    }

    /// `gigalixir ARGS` in a project's folder.
    pub fn run_in(&self, project: &Project, args: &[&str]) -> Ran {
        self.run_at(project.path(), args, "")
    }

    /// `gigalixir ARGS` with answers to its questions, known beforehand.
    pub fn run_with_input(&self, args: &[&str], input: &str) -> Ran {
        self.run_at(self.person.home(), args, input)
    }

    /// What `gigalixir ARGS` prints, which must be JSON.
    #[track_caller]
    pub fn json(&self, project: &Project, args: &[&str]) -> Value {
        let printed = self.run_in(project, args).ok();
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{args:?} printed no JSON ({error}): {printed}"))
    }

    /// `gigalixir ARGS` that does not end by itself, until it says `wanted`, which `act` brings about once it has begun to
    /// say something; what it said until then.
    #[track_caller]
    pub fn listen(&self, project: &Project, args: &[&str], wanted: &str, act: impl FnOnce()) -> String {
        let mut command = self.command(project.path());
        let mut child = command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("client");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines().map_while(Result::ok);
        let mut said = lines.next().expect("a line");
        act();
        for line in lines.by_ref() {
            said.push_str(&format!("\n{line}"));
            if line.contains(wanted) {
                break;
            }
        }
        // `setsid` has the client as its child, which ends with its pipe.
        drop(lines);
        let _ = child.kill();
        let _ = child.wait();
        assert!(said.contains(wanted), "{args:?} ended before `{wanted}`: {said}");
        said
    }

    /// `gigalixir ARGS` that is asked and answered as it goes. Without a terminal it reads passwords from its input.
    pub fn talk(&self, args: &[&str]) -> Conversation {
        let mut command = self.command(self.person.home());
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Conversation { child: command.spawn().expect("client") }
    }

    /// `gigalixir ARGS` at a pseudo-terminal, for what it draws only there; its first line of output for which `answer`
    /// has something to say is answered. Returns all it showed.
    pub fn at_terminal(&self, args: &[&str], mut answer: impl FnMut(&str) -> Option<String>) -> String {
        let line = std::iter::once(self.program.to_str().expect("path")).chain(args.iter().copied());
        let line = line.collect::<Vec<_>>().join(" ");
        let mut command = self.dressed("script", self.person.home());
        command.args(["-q", "-e", "-f", "-c", &line, "/dev/null"]).env("TERM", "xterm");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script");
        let mut stdin = child.stdin.take();
        let mut shown = String::new();
        for line in BufReader::new(child.stdout.take().expect("stdout")).lines().map_while(Result::ok) {
            shown.push_str(&line);
            shown.push('\n');
            if let Some(text) = stdin.as_ref().and_then(|_| answer(&line)) {
                // Kept open: its end would end the terminal.
                writeln!(stdin.as_mut().expect("stdin"), "{text}").expect("answer");
            }
        }
        drop(stdin);
        assert!(child.wait().expect("wait").success(), "{args:?} failed:\n{shown}");
        shown
    }

    /// The key that the client has kept, which it keeps for Gigalixir's own hosts only.
    #[track_caller]
    pub fn key(&self) -> String {
        let netrc = std::fs::read_to_string(self.person.home().join(".netrc")).expect("netrc");
        let words: Vec<&str> = netrc.split_whitespace().collect();
        let at = words.iter().position(|word| *word == "api.gigalixir.com").expect("a machine");
        words[at + 4].to_owned()
    }

    /// Adds the line that a person who overrides the host has to add: the same login for our platform.
    pub fn introduce(&self, email: &str) {
        let path = self.person.home().join(".netrc");
        let netrc = std::fs::read_to_string(&path).expect("netrc");
        let ours = format!("machine {}\n", self.machine);
        let others = netrc.split("machine ").filter(|entry| !entry.is_empty()).map(|entry| format!("machine {entry}"));
        let kept: String = others.filter(|entry| !entry.starts_with(&ours)).collect();
        std::fs::write(path, format!("{ours}\tlogin {email}\n\tpassword {}\n{kept}", self.key())).expect("netrc");
    }

    /// The program at the terminal of somebody else, with their own settings but for the variable.
    pub fn lend_to(&self, person: &Person, project: &Project, args: &[&str]) -> Ran {
        self.lend_program_to(person, project, self.program.to_str().expect("path"), args)
    }

    /// The same by another program, which finds the official one by the variable `OFFICIAL`.
    pub fn lend_program_to(&self, person: &Person, project: &Project, program: &str, args: &[&str]) -> Ran {
        let mut command = person.command(program);
        command.env_remove("GIGALIXIR_HOST").env("GIGALIXIR_CLI__HOST", &self.url).env("OFFICIAL", &self.program);
        command.args(args).current_dir(project.path());
        finish(command, "")
    }

    /// `POST /api/mfa/start` with the key that the client has: the secret's URL, which the client only draws.
    #[track_caller]
    pub fn begin_mfa(&self, email: &str) -> String {
        let answer = post(&format!("{}/api/mfa/start", self.url), email, &self.key());
        let body: Value = serde_json::from_str(&answer.body).expect("JSON");
        body["data"]["url"].as_str().expect("a url").to_owned()
    }

    fn run_at(&self, folder: &Path, args: &[&str], input: &str) -> Ran {
        let mut command = self.command(folder);
        command.args(args);
        finish(command, input)
    }

    fn command(&self, folder: &Path) -> Command {
        // In a session of its own it finds no terminal to read passwords from.
        let mut command = self.dressed("setsid", folder);
        command.arg("--wait").arg(&self.program);
        command
    }

    fn dressed(&self, program: &str, folder: &Path) -> Command {
        let mut command = self.person.command(program);
        command.env_remove("GIGALIXIR_HOST").env("GIGALIXIR_CLI__HOST", &self.url).current_dir(folder);
        command
    }
}

/// A running client that asks.
pub struct Conversation {
    child: Child,
}

impl Conversation {
    /// Types a line.
    pub fn say(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().expect("stdin"), "{line}").expect("the client reads");
    }

    /// Nothing more to say: what came of it.
    pub fn end(self) -> Ran {
        Ran::of("official client".to_owned(), self.child)
    }
}

/// The client's program; installs it when it is not there.
fn installed() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/official-client");
    let program = folder.join("bin/gigalixir");
    std::fs::create_dir_all(&folder).expect("folder");
    // One test installs, the others wait.
    let lock = File::create(folder.join("lock")).expect("lock");
    lock.lock().expect("lock");
    let done = folder.join(format!("installed-{VERSION}"));
    if done.exists() && program.exists() {
        return Some(program);
    }
    let steps: [(&str, &[&str]); 2] = [
        ("python3", &["-m", "venv", "."]),
        ("bin/pip", &["install", "--quiet", "--disable-pip-version-check", &format!("gigalixir=={VERSION}")]),
    ];
    for (step, args) in steps {
        let step = if step.contains('/') { folder.join(step) } else { PathBuf::from(step) };
        let ran = Command::new(&step).args(args).current_dir(&folder).output();
        let why = match ran {
            Ok(output) if output.status.success() => continue,
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        eprintln!("SKIPPED: the official client {VERSION} cannot be installed: `{}`: {why}", step.display());
        println!("SKIPPED: the official client {VERSION} cannot be installed");
        return None;
    }
    File::create(done).expect("mark");
    Some(program)
}
