//! What is to become of each command, before anything is built. Pure.

use std::collections::{BTreeMap, BTreeSet};

use gix::ObjectId;

use super::protocol::Command;
use super::refs::DEPLOYED;

/// The most bytes of one part of a ref's name: it is a file's name, and `.lock` is added to it.
const PART_BYTES: usize = 200;

/// What is to become of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It stays as it is; the one-line reason.
    Refused(String),
    /// The ref moves and nothing else happens.
    Stored,
    /// The ref is removed.
    Deleted,
    /// The ref moves if its commit can be deployed.
    Deployed,
}

/// One verdict per command, given what the refs are now.
pub(super) fn decide(commands: &[Command], refs: &BTreeMap<String, ObjectId>) -> Vec<Verdict> {
    let mut names: BTreeSet<&str> = refs.keys().map(String::as_str).collect();
    for command in commands.iter().filter(|command| command.deletes()) {
        names.remove(command.name.as_str());
    }
    let (mut done, mut deployed) = (BTreeSet::new(), None);
    let mut verdict = |command: &Command| -> Result<Verdict, String> {
        let name = command.name.as_str();
        is_allowed(name)?;
        if !done.insert(name.to_owned()) {
            return Err("this push names the ref twice".into());
        }
        is_current(command, refs.get(name))?;
        if command.deletes() {
            return Ok(Verdict::Deleted);
        }
        if let Some(other) = names.iter().find(|other| is_folder_of(name, other) || is_folder_of(other, name)) {
            return Err(format!("`{name}` and `{other}` cannot both exist"));
        }
        if !DEPLOYED.contains(&name) || command.old == command.new {
            return Ok(Verdict::Stored);
        }
        if let Some(other) = &deployed {
            return Err(format!("one push deploys one branch, and `{other}` is it; push `{name}` by itself"));
        }
        deployed = Some(name.to_owned());
        Ok(Verdict::Deployed)
    };
    commands.iter().map(|command| verdict(command).unwrap_or_else(Verdict::Refused)).collect()
}

fn is_allowed(name: &str) -> Result<(), String> {
    let valid = gix::validate::reference::name(name.into()).is_ok();
    let has_space = name.strip_prefix("refs/").is_some_and(|rest| rest.contains('/'));
    if !valid || !has_space || name.split('/').any(|part| part.len() > PART_BYTES) {
        return Err("funny refname".into());
    }
    if name.starts_with("refs/replace/") {
        return Err("refs/replace is not taken: it would change what other refs mean".into());
    }
    Ok(())
}

/// Whether the client knew what the ref is now; someone else may have pushed since it asked.
fn is_current(command: &Command, now: Option<&ObjectId>) -> Result<(), String> {
    match now {
        None if command.deletes() => Err("the ref does not exist".into()),
        None if command.old.is_null() => Ok(()),
        Some(now) if *now == command.old => Ok(()),
        _ => Err("fetch first: the ref has changed since".into()),
    }
}

fn is_folder_of(folder: &str, name: &str) -> bool {
    name.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digit: u8) -> ObjectId {
        ObjectId::from_bytes_or_panic(&[digit; 20])
    }

    fn command(old: u8, new: u8, name: &str) -> Command {
        Command { old: id(old), new: id(new), name: name.into() }
    }

    fn decided(commands: &[Command], refs: &[(&str, u8)]) -> Vec<Verdict> {
        decide(commands, &refs.iter().map(|(name, n)| ((*name).to_owned(), id(*n))).collect())
    }

    #[test]
    fn master_and_main_deploy_but_not_together() {
        let verdicts = decided(
            &[command(0, 1, "refs/heads/x"), command(0, 1, "refs/heads/main"), command(0, 1, "refs/heads/master")],
            &[],
        );
        assert_eq!(verdicts[..2], [Verdict::Stored, Verdict::Deployed]);
        assert!(matches!(&verdicts[2], Verdict::Refused(reason) if reason.contains("by itself")));
        let deletes = decided(
            &[command(1, 0, "refs/heads/main"), command(1, 2, "refs/heads/master")],
            &[("refs/heads/main", 1), ("refs/heads/master", 1)],
        );
        assert_eq!(deletes, [Verdict::Deleted, Verdict::Deployed]);
    }

    #[test]
    fn what_git_refuses_is_refused() {
        let refs = [("refs/heads/a", 1), ("refs/heads/d/e", 1)];
        for (old, new, name) in [
            (0, 2, "refs/heads/a"),
            (3, 2, "refs/heads/a"),
            (1, 0, "refs/heads/none"),
            (1, 2, "refs/heads/none"),
            (0, 2, "refs/heads/a/b"),
            (0, 2, "refs/heads/d"),
            (0, 2, "HEAD"),
            (0, 2, "refs/stash"),
            (0, 2, "refs/heads/../../x"),
            (0, 2, "refs/heads/x.lock"),
            (0, 2, "refs/heads/a b"),
            (0, 2, "refs/replace/1111111111111111111111111111111111111111"),
            (0, 2, "objects/pack"),
        ] {
            let verdicts = decided(&[command(old, new, name)], &refs);
            assert!(matches!(verdicts[..], [Verdict::Refused(_)]), "{name}: {verdicts:?}");
        }
        let twice = decided(&[command(1, 2, "refs/heads/a"), command(1, 3, "refs/heads/a")], &refs);
        assert!(matches!(&twice[..], [Verdict::Stored, Verdict::Refused(_)]));
        let folder_for_file = decided(&[command(1, 0, "refs/heads/a"), command(0, 2, "refs/heads/a/b")], &refs);
        assert_eq!(folder_for_file, [Verdict::Deleted, Verdict::Stored]);
    }
}
