//! Into a replica by the person's own `ssh`: the words of its command line. No shell is between us and it; the one that
//! reads the remote command stands in the replica, so each word of that is quoted for it.

use std::io::ErrorKind;

use tokio::process::Command;

use super::error::Error;
use super::output::visible;
use super::{Client, console};
use crate::api::ssh::SshAddress;

/// One trip.
#[derive(Debug, Clone, Default)]
pub struct Trip {
    /// `web.2` or a pod's name, if it matters.
    pub replica: Option<String>,
    /// More options for ssh.
    pub options: Vec<String>,
    /// Whether a terminal is wanted there.
    pub terminal: bool,
    /// The program and its arguments; none is a shell.
    pub command: Vec<String>,
}

/// Asks where to go, goes there, and ends as `ssh` ends.
pub async fn run(client: &Client, app: &str, trip: &Trip) -> Result<(), Error> {
    let api = client.api()?;
    let address: SshAddress = api.get(&["api", "apps", app, "ssh_ip"]).await?.read(&api)?;
    let ended = Command::new("ssh").args(trip.arguments(&address.ssh_ip)?).status().await.map_err(|error| {
        let error = match error.kind() {
            ErrorKind::NotFound => Error::failed("there is no `ssh` on this machine"),
            _ => Error::io("could not start `ssh`", &error),
        };
        error.hint("without --ssh the same goes by the API")
    })?;
    match ended.code() {
        Some(0) => Ok(()),
        code => Err(console::program(code.unwrap_or(255))),
    }
}

impl Trip {
    /// All words after `ssh`, to `APP@HOST -p PORT`.
    fn arguments(&self, address: &str) -> Result<Vec<String>, Error> {
        let (app, host, port) = read(address).ok_or_else(|| {
            let address = visible(address);
            Error::failed(format!("the server says that ssh reaches it at `{address}`, which is no such place"))
        })?;
        let user = match &self.replica {
            Some(replica) => format!("{app}.{replica}"),
            None => app.to_owned(),
        };
        let mut words = self.options.clone();
        words.push(if self.terminal { "-t" } else { "-T" }.to_owned());
        words.extend(["-p", port, "-l", &user, "--", host].map(str::to_owned));
        if !self.command.is_empty() {
            words.push(self.command.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "));
        }
        Ok(words)
    }
}

/// App, host and port. What a server says is not trusted to be words of a command line.
fn read(address: &str) -> Option<(&str, &str, &str)> {
    let words: Vec<&str> = address.split_whitespace().collect();
    let [destination, "-p", port] = words[..] else { return None };
    let (app, host) = destination.split_once('@')?;
    let plain = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == ':')
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:-".contains(&byte))
    };
    (plain(app) && plain(host) && port.parse::<u16>().is_ok()).then_some((app, host, port))
}

/// A word as bash reads it again.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(&byte);
    match !word.is_empty() && word.bytes().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_ssh() {
        let command = ["sh", "-c", "echo 'it is' \"$HOME\"\n", ""].map(str::to_owned).to_vec();
        let options = vec!["-i".to_owned(), "key".to_owned()];
        let mut words = Trip { command, options, ..Trip::default() }.arguments("hill@ssh.example.org -p 2222").unwrap();
        assert_eq!(words.pop().as_deref(), Some("sh -c 'echo '\\''it is'\\'' \"$HOME\"\n' ''"));
        assert_eq!(words, ["-i", "key", "-T", "-p", "2222", "-l", "hill", "--", "ssh.example.org"]);
        let shell = Trip { replica: Some("web.2".to_owned()), terminal: true, ..Trip::default() };
        let words = shell.arguments("hill@::1 -p 22").unwrap();
        assert_eq!(words, ["-t", "-p", "22", "-l", "hill.web.2", "--", "::1"]);
    }

    #[test]
    fn a_server_cannot_slip_options_in() {
        for address in
            ["", "hill@host", "hill@-oProxyCommand=x -p 22", "-v@host -p 22", "hill@host -p 22 -v", "hill@host -p x"]
        {
            assert!(Trip::default().arguments(address).is_err(), "{address}");
        }
    }
}
