//! Which app a command is about.
//!
//! Order: `-a`, then the app's name as an argument (as in 2017), then `GIGALIXIR_APP`, then the one app that the git
//! remotes of the current folder name. Two remotes for two apps decide nothing: the person has to.

use clap::Args;

use crate::client::Client;
use crate::client::error::Error;
use crate::client::git::{self, Remote};

/// `-a`, for commands whose arguments are something else.
#[derive(Debug, Clone, Default, Args)]
pub struct AppOption {
    /// The app [default: GIGALIXIR_APP, else the app of the git remote]
    #[arg(short = 'a', long = "app", aliases = ["app_name", "app-name"], value_name = "NAME")]
    pub app: Option<String>,
}

/// `-a`, or the app as the only argument.
#[derive(Debug, Clone, Default, Args)]
pub struct Target {
    #[command(flatten)]
    option: AppOption,
    /// The app, as -a takes it
    #[arg(value_name = "APP")]
    argument: Option<String>,
}

impl Target {
    /// The app's name.
    pub fn resolve(&self, client: &Client) -> Result<String, Error> {
        self.option.resolve(client, self.argument.as_deref())
    }
}

impl AppOption {
    /// The app's name; `argument` is the app given otherwise than by `-a`.
    pub fn resolve(&self, client: &Client, argument: Option<&str>) -> Result<String, Error> {
        choose(self.app.as_deref(), argument, client.environment.app.as_deref(), || git::remotes(&client.host))
    }
}

fn choose(
    option: Option<&str>,
    argument: Option<&str>,
    variable: Option<&str>,
    remotes: impl FnOnce() -> Vec<Remote>,
) -> Result<String, Error> {
    match (option, argument) {
        (Some(one), Some(other)) if one != other => {
            return Err(Error::usage(format!("two apps are named, `{one}` and `{other}`")));
        }
        _ => {}
    }
    if let Some(named) = option.or(argument).or(variable) {
        return checked(named);
    }
    let remotes = remotes();
    let mut apps: Vec<&str> = remotes.iter().map(|remote| remote.app.as_str()).collect();
    apps.sort_unstable();
    apps.dedup();
    match apps[..] {
        [app] => checked(app),
        [] => Err(Error::usage("no app is named, and no git remote of this folder tells one")
            .hint("add `-a NAME`, or set GIGALIXIR_APP")
            .hint("`gigalixir git:remote NAME` sets the remote; `gigalixir apps` lists your apps")),
        _ => {
            let list: Vec<_> = remotes.iter().map(|remote| format!("`{}` ({})", remote.app, remote.name)).collect();
            Err(Error::usage(format!("the git remotes of this folder name several apps: {}", list.join(", ")))
                .hint("add `-a NAME`, or set GIGALIXIR_APP"))
        }
    }
}

/// The server decides what a name may be; here only what could not be part of a URL or a folder is stopped.
fn checked(name: &str) -> Result<String, Error> {
    let ok = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if ok {
        Ok(name.to_ascii_lowercase())
    } else {
        Err(Error::usage(format!("`{}` is not an app's name", name.escape_debug())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remotes(pairs: &[(&str, &str)]) -> impl FnOnce() -> Vec<Remote> {
        let remotes = pairs.iter().map(|(name, app)| Remote { name: (*name).into(), app: (*app).into() }).collect();
        move || remotes
    }

    #[test]
    fn the_order_of_names() {
        let one = || remotes(&[("gigalixir", "remote")]);
        assert_eq!(choose(Some("option"), None, Some("variable"), one()).unwrap(), "option");
        assert_eq!(choose(None, Some("argument"), Some("variable"), one()).unwrap(), "argument");
        assert_eq!(choose(None, None, Some("variable"), one()).unwrap(), "variable");
        assert_eq!(choose(None, None, None, one()).unwrap(), "remote");
        assert_eq!(choose(Some("Same"), Some("Same"), None, one()).unwrap(), "same");
        assert!(choose(Some("a"), Some("b"), None, one()).is_err());
    }

    #[test]
    fn remotes_decide_only_when_they_agree() {
        let agree = remotes(&[("gigalixir", "a"), ("origin", "a")]);
        assert_eq!(choose(None, None, None, agree).unwrap(), "a");
        let differ = choose(None, None, None, remotes(&[("gigalixir", "a"), ("staging", "b")])).unwrap_err();
        assert_eq!(differ.message, "the git remotes of this folder name several apps: `a` (gigalixir), `b` (staging)");
        let none = choose(None, None, None, remotes(&[])).unwrap_err();
        assert_eq!(none.hints.len(), 2);
    }

    #[test]
    fn names_cannot_walk_through_urls() {
        for name in ["..", "a/b", "", "a?b", "\u{1b}[2J"] {
            assert!(choose(Some(name), None, None, remotes(&[])).is_err(), "{name:?}");
        }
    }
}
