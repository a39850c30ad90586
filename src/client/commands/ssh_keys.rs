//! `account:ssh_keys…`: the keys that open what the platform serves over ssh.

use clap::Args;
use reqwest::Method;

use crate::api::ssh_key::{AddSshKey, RemoveSshKey, SshKey};
use crate::client::Client;
use crate::client::error::Error;
use crate::client::output::{table, visible};

/// Arguments of `account:ssh_keys:add`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir account:ssh_keys:add ~/.ssh/id_ed25519.pub
  gigalixir account:ssh_keys:add \"$(cat ~/.ssh/id_ed25519.pub)\"")]
pub struct Add {
    /// The public key: a `.pub` file, or the one line in it
    #[arg(value_name = "KEY")]
    ssh_key: String,
}

/// Arguments of `account:ssh_keys:remove`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir account:ssh_keys:remove 3")]
pub struct Remove {
    /// The key's id, as `account:ssh_keys` shows it
    id: String,
}

/// Lists the keys.
pub async fn list(client: &Client) -> Result<(), Error> {
    let api = client.api()?;
    let answer = api.get(&["api", "ssh_keys"]).await?;
    client.output.result(&answer.data, || {
        let keys: Vec<SshKey> = answer.read(&api)?;
        if keys.is_empty() {
            client.output.hint("`gigalixir account:ssh_keys:add` adds one");
            return Ok(String::new());
        }
        Ok(table(["ID", "TYPE", "FINGERPRINT", "COMMENT"], keys.into_iter().map(row)))
    })
}

fn row(key: SshKey) -> [String; 4] {
    let mut words = key.key.splitn(3, ' ');
    let (kind, comment) = (words.next().unwrap_or_default(), words.nth(1).unwrap_or_default());
    [key.id, kind.to_owned(), key.fingerprint, comment.to_owned()]
}

/// Adds a key.
pub async fn add(client: &Client, args: Add) -> Result<(), Error> {
    let ssh_key = public_key(args.ssh_key)?;
    let api = client.api()?;
    let answer = api.send(Method::POST, &["api", "ssh_keys"], &AddSshKey { ssh_key }).await?;
    let key: SshKey = answer.read(&api)?;
    client.output.status(format!("Added {}.", visible(&key.fingerprint)));
    client.output.hint("it opens all your apps at once: `gigalixir ps:ssh --ssh`, or `ssh APP@HOST -p PORT`");
    client.output.result(&answer.data, || Ok(String::new()))
}

/// The key itself, if a file was named. A file that holds something else, as the private key does, is sent nowhere.
fn public_key(word: String) -> Result<String, Error> {
    let file = std::path::Path::new(&word);
    if !file.is_file() {
        return Ok(word);
    }
    let text =
        std::fs::read_to_string(file).map_err(|error| Error::io(format_args!("could not read {word}"), &error))?;
    match ["ssh-", "ecdsa-", "sk-"].iter().any(|kind| text.starts_with(kind)) {
        true => Ok(text.trim().to_owned()),
        false => Err(Error::usage(format!("{word} is no public key, and was sent nowhere"))
            .hint("a key's public half is in the file that ends in `.pub`")),
    }
}

/// Removes a key.
pub async fn remove(client: &Client, args: Remove) -> Result<(), Error> {
    let answer = client.api()?.send(Method::DELETE, &["api", "ssh_keys"], &RemoveSshKey { id: args.id }).await?;
    client.output.status("The key is removed.");
    client.output.result(&answer.data, || Ok(String::new()))
}
