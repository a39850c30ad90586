//! What somebody meant who typed a command that is none: other platforms' words, else the names that look most alike.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Names that are shown; more are no help.
const SHOWN: usize = 3;

/// What other clients call it → what it is called here.
const ELSEWHERE: &[(&str, &str)] = &[
    ("apps:delete", "apps:destroy"),
    ("auth:login", "login"),
    ("auth:logout", "logout"),
    ("auth:whoami", "account"),
    ("collaborators", "access"),
    ("config:add", "config:set"),
    ("config:delete", "config:unset"),
    ("config:remove", "config:unset"),
    ("console", "ps:remote_console"),
    ("cron", "jobs:schedules"),
    ("delete", "apps:destroy"),
    ("destroy", "apps:destroy"),
    ("env", "config"),
    ("exec", "ps:run"),
    ("forward", "ps:forward"),
    ("info", "apps:info"),
    ("keys", "account:ssh_keys"),
    ("keys:add", "account:ssh_keys:add"),
    ("list", "apps"),
    ("members", "access"),
    ("members:add", "access:add"),
    ("proxy", "ps:forward"),
    ("ps:exec", "ps:run"),
    ("ps:status", "ps"),
    ("ps:stop", "ps:kill"),
    ("push", "deploy"),
    ("secrets", "config"),
    ("secrets:set", "config:set"),
    ("shell", "ps:ssh"),
    ("sftp", "cp"),
    ("tail", "logs"),
    ("whoami", "account"),
];

/// The same error with better advice, if an unknown command is what it is about.
pub(super) fn advised(tree: &clap::Command, mut error: clap::Error) -> clap::Error {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return error;
    }
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand) else { return error };
    let alike = match error.get(ContextKind::SuggestedSubcommand) {
        Some(ContextValue::Strings(alike)) => alike.clone(),
        _ => Vec::new(),
    };
    let meant = match known(tree, typed) {
        Some(name) => vec![name.to_owned()],
        // The most alike comes last.
        None => alike.into_iter().rev().take(SHOWN).collect(),
    };
    if !meant.is_empty() {
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(meant));
    }
    error
}

fn known<'a>(tree: &clap::Command, typed: &'a str) -> Option<&'a str> {
    let elsewhere = ELSEWHERE.iter().find(|(theirs, _)| *theirs == typed).map(|(_, ours)| *ours);
    // Here the noun alone lists.
    elsewhere.or_else(|| typed.strip_suffix(":list").filter(|noun| tree.find_subcommand(noun).is_some()))
}

#[cfg(test)]
mod tests {
    use super::super::tree;
    use super::*;

    #[test]
    fn what_is_advised_exists() {
        let tree = tree();
        for (theirs, ours) in ELSEWHERE {
            assert!(tree.find_subcommand(ours).is_some(), "{ours}");
            assert!(tree.find_subcommand(theirs).is_none(), "{theirs} is a command now");
        }
    }

    #[test]
    fn few_names_and_the_best_first() {
        let told = |word: &str| {
            let error = tree().try_get_matches_from(["gigalixir", word]).unwrap_err();
            let text = advised(&tree(), error).to_string();
            text.lines().find_map(|line| line.trim().strip_prefix("tip: ")).unwrap_or_default().to_owned()
        };
        assert_eq!(told("apps:delete"), "a similar subcommand exists: 'apps:destroy'");
        assert_eq!(told("domains:list"), "a similar subcommand exists: 'domains'");
        assert_eq!(told("whoami"), "a similar subcommand exists: 'account'");
        assert!(told("ps:scal").starts_with("some similar subcommands exist: 'ps:scale'"), "{}", told("ps:scal"));
        assert!(told("config:ste").matches('\'').count() <= 2 * SHOWN);
        assert_eq!(told("xyzzy"), "");
    }
}
