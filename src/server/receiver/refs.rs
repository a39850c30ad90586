//! The refs of a repository: read at once, changed in transactions, flushed to the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use gix::ObjectId;
use gix::refs::transaction::{Change, LogChange, PreviousValue, RefEdit, RefLog};
use gix::refs::{FullName, Target};

use super::error::{ReceiverError, reasons};
use super::protocol::{self, Command};
use super::repository;

/// The branches whose pushes deploy.
pub(super) const DEPLOYED: [&str; 2] = ["refs/heads/master", "refs/heads/main"];

/// Every direct ref by its full name; `HEAD` is not among them.
pub(super) fn snapshot(repository: &gix::Repository) -> Result<BTreeMap<String, ObjectId>, ReceiverError> {
    let mut refs = BTreeMap::new();
    for reference in repository.references()?.all()? {
        let reference = reference.map_err(|error| ReceiverError::Git(error.to_string()))?;
        let name = std::str::from_utf8(reference.name().as_bstr()).ok().map(str::to_owned);
        if let (Some(name), Some(id)) = (name, reference.target().try_id()) {
            refs.insert(name, id.to_owned());
        }
    }
    Ok(refs)
}

/// Carries out `commands` together or not at all; one that is already true is passed over. The error is for the
/// pusher.
pub(super) fn apply(repository: &gix::Repository, commands: &[&Command]) -> Result<(), String> {
    let now = snapshot(repository).map_err(|error| error.to_string())?;
    let open = |command: &&&Command| now.get(&command.name).copied().unwrap_or_else(null) != command.new;
    let edits = commands.iter().filter(open).map(|command| edit(command)).collect::<Result<Vec<_>, _>>();
    repository.edit_references(edits.map_err(|error| error.to_string())?).map_err(|error| reasons(&error))?;
    for command in commands {
        adopt_as_head(repository, command).map_err(|error| error.to_string())?;
    }
    flush(repository, commands.iter().map(|command| command.name.as_str())).map_err(|error| error.to_string())
}

/// See [`super::Receiver::move_ref`].
pub(super) fn move_to(path: &Path, reference: &str, commit: &str) -> Result<(), ReceiverError> {
    let new = protocol::object_id(commit.as_bytes()).map_err(ReceiverError::Invalid)?;
    let repository = repository::open(path)?;
    if !repository.has_object(new) {
        return Err(ReceiverError::Git(format!("cannot move `{reference}`: commit {commit} is not in the repository")));
    }
    let old = snapshot(&repository)?.get(reference).copied().unwrap_or_else(null);
    apply(&repository, &[&Command { old, new, name: reference.to_owned() }]).map_err(ReceiverError::Git)
}

fn null() -> ObjectId {
    ObjectId::null(gix::hash::Kind::Sha1)
}

fn full_name(name: &str) -> Result<FullName, ReceiverError> {
    FullName::try_from(name).map_err(|error| ReceiverError::Invalid(format!("`{name}` is no ref name: {error}")))
}

fn edit(command: &Command) -> Result<RefEdit, ReceiverError> {
    let expected = match command.old.is_null() {
        true => PreviousValue::MustNotExist,
        false => PreviousValue::MustExistAndMatch(Target::Object(command.old)),
    };
    let change = match command.deletes() {
        true => Change::Delete { expected, log: RefLog::AndReference },
        false => Change::Update { log: LogChange::default(), expected, new: Target::Object(command.new) },
    };
    Ok(RefEdit { change, name: full_name(&command.name)?, deref: false })
}

/// The first deployed branch becomes `HEAD`, so that a clone checks it out.
fn adopt_as_head(repository: &gix::Repository, command: &Command) -> Result<(), ReceiverError> {
    let is_born = repository.head_id().is_ok();
    if is_born || command.deletes() || !DEPLOYED.contains(&command.name.as_str()) {
        return Ok(());
    }
    let new = Target::Symbolic(full_name(&command.name)?);
    let change = Change::Update { log: LogChange::default(), expected: PreviousValue::Any, new };
    repository.edit_reference(RefEdit { change, name: full_name("HEAD")?, deref: false })?;
    flush(repository, ["HEAD"]).map_err(ReceiverError::io("cannot flush HEAD"))
}

/// A rename is seen by all at once, but lasts only when file and folder have been flushed.
fn flush<'a>(repository: &gix::Repository, names: impl IntoIterator<Item = &'a str>) -> std::io::Result<()> {
    let mut folders = BTreeSet::from([repository.git_dir().to_owned()]);
    for name in names {
        let file = repository.git_dir().join(name);
        if let Ok(file) = std::fs::File::open(&file) {
            file.sync_all()?;
        }
        folders.extend(file.parent().filter(|folder| folder.is_dir()).map(Path::to_owned));
    }
    folders.iter().try_for_each(|folder| super::sync_folder(folder))
}
