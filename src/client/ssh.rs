//! Into a replica by the person's own `ssh`: the words of its command line. No shell is between us and it; the one that
//! reads the remote command stands in the replica, so each word of that is quoted for it.

use super::error::Error;

/// One trip.
#[derive(Debug, Clone, Default)]
pub struct Trip<'a> {
    /// The API's `ssh_ip`: `APP@HOST -p PORT`.
    pub address: &'a str,
    /// `web.2` or a pod's name, if it matters.
    pub replica: Option<&'a str>,
    /// More options for ssh.
    pub options: &'a [String],
    /// Whether a terminal is wanted there.
    pub terminal: bool,
    /// The program and its arguments; none is a shell.
    pub command: &'a [String],
}

impl Trip<'_> {
    /// All words after `ssh`.
    pub fn arguments(&self) -> Result<Vec<String>, Error> {
        let (app, host, port) = read(self.address).ok_or_else(|| {
            Error::failed(format!("the server says that ssh reaches it at `{}`, which is no such place", self.address))
        })?;
        let user = match self.replica {
            Some(replica) => format!("{app}.{replica}"),
            None => app.to_owned(),
        };
        let mut words = self.options.to_vec();
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
        let command = ["sh", "-c", "echo 'it is' \"$HOME\"\n", ""].map(str::to_owned);
        let options = ["-i".to_owned(), "my key".to_owned()];
        let trip =
            Trip { address: "hill@ssh.example.org -p 2222", command: &command, options: &options, ..Trip::default() };
        let mut words = trip.arguments().unwrap();
        assert_eq!(words.pop().as_deref(), Some("sh -c 'echo '\\''it is'\\'' \"$HOME\"\n' ''"));
        assert_eq!(words, ["-i", "my key", "-T", "-p", "2222", "-l", "hill", "--", "ssh.example.org"]);
        let shell = Trip { address: "hill@::1 -p 22", replica: Some("web.2"), terminal: true, ..Trip::default() };
        assert_eq!(shell.arguments().unwrap(), ["-t", "-p", "22", "-l", "hill.web.2", "--", "::1"]);
    }

    #[test]
    fn a_server_cannot_slip_options_in() {
        for address in
            ["", "hill@host", "hill@-oProxyCommand=x -p 22", "-v@host -p 22", "hill@host -p 22 -v", "hill@host -p x"]
        {
            assert!(Trip { address, ..Trip::default() }.arguments().is_err(), "{address}");
        }
    }
}
