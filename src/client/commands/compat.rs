//! `compat`: the settings that point Gigalixir's own client (from PyPI) at this platform.
//!
//! It asks netrc for the host of `GIGALIXIR_CLI__HOST`, which `gigalixir login` has filled, and pushes to
//! git.gigalixir.com, which git can be told to rewrite. What is printed is a shell script without secrets.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::client::Client;
use crate::client::error::{Error, Kind};
use crate::client::git;

/// Where the official client pushes to.
const OFFICIAL_GIT: &str = "https://git.gigalixir.com/";
/// The variable it reads since 1.16.
const VARIABLE: &str = "GIGALIXIR_CLI__HOST";

/// Arguments of `compat`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  eval \"$(gigalixir compat)\"
  gigalixir compat --write")]
pub struct Compat {
    /// Make the settings instead of printing them: git's, and a file to be sourced
    #[arg(long)]
    write: bool,
}

/// Prints the settings, or makes them.
pub fn compat(client: &Client, args: &Compat) -> Result<(), Error> {
    let host = client.host.to_string();
    let base = client.host.endpoint(&["git.gigalixir.com", ""]).to_string();
    let signed_in = client.netrc.find(client.host.machine())?.is_some();
    let login = format!("`gigalixir login --host {host}` puts your key there");
    let variable = format!("export {VARIABLE}={}", quoted(&host));
    if !args.write {
        let key = format!("url.{base}.insteadOf");
        let script = format!("{variable}\ngit config --global {} {}", quoted(&key), quoted(OFFICIAL_GIT));
        if !signed_in {
            client
                .output
                .hint(format!("the official client will look for {} in ~/.netrc: {login}", client.host.machine()));
        }
        let data = json!({ VARIABLE: host, "insteadOf": { base: OFFICIAL_GIT }, "signed_in": signed_in });
        return client.output.result(&data, || Ok(script));
    }
    if !signed_in {
        return Err(Error::new(Kind::Access, format!("~/.netrc has no key for {host}")).hint(login));
    }
    git::rewrite(OFFICIAL_GIT, &base)?;
    let file = keep(client, &variable)?;
    client.output.status(format!("git pushes to {base} when it is told {OFFICIAL_GIT}"));
    client.output.status(format!("`source {}` points the official client at {host}.", file.display()));
    let data = json!({ VARIABLE: host, "insteadOf": { base: OFFICIAL_GIT }, "file": file });
    client.output.result(&data, || Ok(String::new()))
}

/// Writes the file for shells.
fn keep(client: &Client, line: &str) -> Result<PathBuf, Error> {
    let folder = &client.environment.config_dir;
    let file = folder.join("official.sh");
    let write = || {
        std::fs::create_dir_all(folder)?;
        let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
        writeln!(temporary, "{line}")?;
        temporary.persist(&file).map(drop).map_err(|error| error.error)
    };
    write().map_err(|error| Error::io(format_args!("could not write {}", file.display()), &error))?;
    Ok(file)
}

/// One word for any shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_the_shell() {
        assert_eq!(quoted("http://localhost:4000"), "'http://localhost:4000'");
        let odd = "a'b $(c) \"d\"";
        let echoed = std::process::Command::new("bash").args(["-c", &format!("printf %s {}", quoted(odd))]).output();
        assert_eq!(String::from_utf8(echoed.unwrap().stdout).unwrap(), odd);
    }
}
