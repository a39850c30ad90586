//! `stacks`, `stack:set`: what apps are built on and run in.

use clap::Args;
use reqwest::Method;
use serde_json::json;

use super::target::AppOption;
use crate::api::stack::{Stack, StackImage};
use crate::client::Client;
use crate::client::error::Error;
use crate::client::output::table;

/// Characters of a digest that people compare.
const SHOWN: usize = 19;

/// Arguments of `stack:set`.
#[derive(Debug, Args)]
#[command(after_help = "It takes effect at the next push, which begins with an empty build cache of that stack.

Examples:
  gigalixir stack:set gigalixir-24
  gigalixir stack:set -a my-app -s debian-12")]
#[group(required = true, multiple = false, id = "which", args = ["stack", "name"])]
pub struct Set {
    #[command(flatten)]
    app: AppOption,
    /// The stack
    #[arg(short, long, value_name = "STACK")]
    stack: Option<String>,
    /// The stack, as -s takes it
    #[arg(value_name = "STACK")]
    name: Option<String>,
}

/// Lists the stacks.
pub async fn list(client: &Client) -> Result<(), Error> {
    let api = client.api()?;
    let answer = api.get(&["api", "stacks"]).await?;
    client.output.result(&answer.data, || {
        let stacks: Vec<Stack> = answer.read(&api)?;
        for stack in stacks.iter().filter(|stack| stack.images.iter().any(|image| image.state == "missing")) {
            if let Some(command) = &stack.command {
                client.output.hint(format!("on the platform's machine, `{command}` gets the images of {}", stack.name));
            }
        }
        Ok(table(["STACK", "IMAGE", "STATE", "DIGEST", "APPS"], stacks.iter().flat_map(rows)))
    })
}

fn rows(stack: &Stack) -> Vec<[String; 5]> {
    let name = if stack.default { format!("{} (default)", stack.name) } else { stack.name.clone() };
    let apps = if stack.apps.is_empty() { "-".to_owned() } else { stack.apps.join(" ") };
    if stack.images.is_empty() {
        return vec![[name, "the platform's machine".to_owned(), "ready".to_owned(), "-".to_owned(), apps]];
    }
    let row = |(number, image): (usize, &StackImage)| {
        let digest = image.digest.as_deref().map_or("-".to_owned(), |digest| digest.chars().take(SHOWN).collect());
        let (name, apps) = if number == 0 { (name.clone(), apps.clone()) } else { Default::default() };
        [name, format!("{} ({})", image.reference, image.purpose), image.state.clone(), digest, apps]
    };
    stack.images.iter().enumerate().map(row).collect()
}

/// Chooses the stack of the next build.
pub async fn set(client: &Client, args: Set) -> Result<(), Error> {
    let name = args.app.resolve(client, None)?;
    let stack = args.stack.or(args.name).unwrap_or_default();
    let body = json!({ "stack": stack });
    let answer = client.api()?.send(Method::PUT, &["api", "apps", &name, "stack"], &body).await?;
    client.output.status(format!("{name} is built on {stack} from the next push on."));
    client.output.result(&answer.data, || Ok(String::new()))
}
