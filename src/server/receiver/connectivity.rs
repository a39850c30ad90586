//! Whether everything that the pushed tips need is there. Objects of the repository itself are taken as complete
//! (only complete histories get in), so only what is new is walked; blobs are not even opened.

use gix::ObjectId;
use gix::objs::{Exists, Kind};

use super::error::ReceiverError;
use super::interrupt::Interrupt;
use super::protocol::Command;
use super::quarantine::Quarantine;
use super::walk::{WalkError, walk};

/// What a check found.
pub(super) struct Checked {
    /// The reason to refuse each command, where there is one.
    pub(super) against: Vec<Option<String>>,
    /// Where the new objects end and the repository's own begin.
    pub(super) relied_on: Vec<ObjectId>,
}

/// Walks what is new.
pub(super) fn check(
    quarantine: &Quarantine,
    commands: &[Command],
    interrupt: &Interrupt,
) -> Result<Checked, ReceiverError> {
    let repository = quarantine.repository()?;
    let new_objects = quarantine.index()?;
    let mut relied_on = Vec::new();
    let mut complete = |tips: &[ObjectId]| {
        walk(&repository.objects, tips.iter().copied(), |id| {
            if interrupt.is_raised() {
                Err(WalkError::Cancelled)
            } else if new_objects.as_ref().is_some_and(|index| index.lookup(id).is_some()) {
                Ok(true)
            } else if repository.objects.exists(id) {
                relied_on.push(*id);
                Ok(false)
            } else {
                Err(WalkError::Missing(*id))
            }
        })
    };
    let tips: Vec<_> = commands.iter().filter(|command| !command.deletes()).map(|command| command.new).collect();
    let all_complete = complete(&tips).is_ok();
    let mut reason = |command: &Command| {
        if command.deletes() {
            return None;
        }
        if !all_complete && let Err(error) = complete(&[command.new]) {
            return Some(match error {
                WalkError::Missing(_) => "missing necessary objects".to_owned(),
                other => other.to_string(),
            });
        }
        let kind = repository.find_header(command.new).ok().map(|header| header.kind());
        let is_branch = command.name.starts_with("refs/heads/");
        (is_branch && kind != Some(Kind::Commit)).then(|| "a branch must name a commit".to_owned())
    };
    let against = commands.iter().map(&mut reason).collect();
    Ok(Checked { against, relied_on })
}
