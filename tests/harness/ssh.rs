//! The real OpenSSH client of somebody: a key and a configuration of their own, nothing of the machine's.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::person::{Ran, finish};
use super::{Person, Server};

/// Somebody's ssh.
pub struct Ssh<'a> {
    person: &'a Person,
    port: u16,
}

impl<'a> Ssh<'a> {
    /// Makes a key (once) and the configuration; the key is not added to any account.
    pub fn of(person: &'a Person, server: &Server) -> Self {
        let ssh = Self { person, port: server.ssh.port() };
        let folder = person.home().join(".ssh");
        std::fs::create_dir_all(&folder).expect("folder");
        if !ssh.key().exists() {
            ssh.make_key(&ssh.key(), "ed25519");
        }
        let config = format!(
            "Host *\nHostName 127.0.0.1\nPort {}\nIdentityFile {}\nIdentitiesOnly yes\nIdentityAgent none\n\
             UserKnownHostsFile {}\nGlobalKnownHostsFile /dev/null\nStrictHostKeyChecking accept-new\nBatchMode yes\n\
             ControlPath {}/control-%C\n",
            ssh.port,
            ssh.key().display(),
            folder.join("known_hosts").display(),
            folder.display(),
        );
        std::fs::write(ssh.config(), config).expect("config");
        ssh
    }

    /// The same, and the key is added to the person's account.
    pub fn known(person: &'a Person, server: &Server) -> Self {
        let ssh = Self::of(person, server);
        ssh.add_key();
        ssh
    }

    /// A key of another kind.
    pub fn make_key(&self, path: &Path, kind: &str) {
        let mut command = self.person.command("ssh-keygen");
        command.args(["-q", "-t", kind, "-N", "", "-C", "me@home", "-f"]).arg(path);
        finish(command, "").ok();
    }

    pub fn key(&self) -> PathBuf {
        self.person.home().join(".ssh/id")
    }

    pub fn public_key(&self) -> String {
        std::fs::read_to_string(self.key().with_extension("pub")).expect("public key").trim().to_owned()
    }

    pub fn config(&self) -> PathBuf {
        self.person.home().join(".ssh/config")
    }

    /// Adds the key to the account; its id.
    pub fn add_key(&self) -> String {
        let printed = self.person.run(&["account:ssh_keys:add", &self.public_key(), "--json"]).ok();
        let key: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
        key["id"].as_str().expect("an id").to_owned()
    }

    /// `PROGRAM -F CONFIG ARGS` of OpenSSH's.
    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = self.person.command(program);
        command.arg("-F").arg(self.config()).args(args).current_dir(self.person.home());
        command
    }

    /// `ssh ARGS` to its end.
    pub fn run(&self, args: &[&str]) -> Ran {
        self.run_with_input(args, "")
    }

    /// The same with something on standard input.
    pub fn run_with_input(&self, args: &[&str], input: &str) -> Ran {
        finish(self.command("ssh", args), input)
    }

    /// `ssh ARGS` from a file, to a file.
    pub fn run_with_files(&self, args: &[&str], input: &Path, output: &Path) -> Ran {
        let mut command = self.command("ssh", args);
        command.stdin(File::open(input).expect("input")).stdout(File::create(output).expect("output"));
        Ran::of(format!("{command:?}"), command.stderr(Stdio::piped()).spawn().expect("ssh"))
    }

    /// Another of OpenSSH's programs to its end.
    pub fn run_program(&self, program: &str, args: &[&str], input: &str) -> Ran {
        finish(self.command(program, args), input)
    }

    /// `ssh ARGS`, running; its standard input is open.
    pub fn start(&self, args: &[&str]) -> Running {
        let mut command = self.command("ssh", args);
        let what = format!("{command:?}");
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ssh");
        Running { what, child }
    }

    /// `ssh ARGS` at a terminal of 100 columns and 30 lines, in which the steps (JSON; see `terminal.py`) are done.
    pub fn at_terminal(&self, args: &[&str], steps: &serde_json::Value) -> Ran {
        self.person.at_terminal(&self.command("ssh", args), steps)
    }
}

/// A client that runs.
pub struct Running {
    what: String,
    pub child: Child,
}

impl Running {
    /// Waits for its end.
    pub fn end(mut self) -> Ran {
        drop(self.child.stdin.take());
        self.end_with_input_open()
    }

    /// Waits for an end that is not its input's.
    pub fn end_with_input_open(self) -> Ran {
        let Self { what, mut child } = self;
        let stdin = child.stdin.take();
        let ran = Ran::of(what, child);
        drop(stdin);
        ran
    }
}
