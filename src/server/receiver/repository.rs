//! Repositories as folders: made, opened, removed and swept. None of them ever reads the machine's own git
//! configuration, so no filter, hook or credential program can be named by it.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::error::ReceiverError;
use super::repack;
use crate::server::domain::AppName;

/// The folder beside the repositories for what is temporary.
pub(super) const WORK: &str = ".work";

/// How a quarantine's folder below `objects/` begins; git itself ignores and prunes that name too.
pub(super) const INCOMING: &str = "tmp_incoming-";

/// Opens a bare repository for one request; the set of packs is read now, so the handle is not to be kept.
pub(super) fn open(path: &Path) -> Result<gix::Repository, ReceiverError> {
    let options = gix::open::Options::isolated()
        .with(gix::sec::Trust::Full)
        .open_path_as_is(true)
        // The cache of delta bases would take up to 96 MB per handle by default.
        .config_overrides(["core.deltaBaseCacheLimit=4194304", "core.useReplaceRefs=false"]);
    Ok(options.open(path)?.to_thread_local())
}

/// Makes an empty bare repository in one step, unless there is one.
pub(super) fn create(path: &Path, work: &Path) -> Result<(), ReceiverError> {
    if path.is_dir() {
        return Ok(());
    }
    let folder = tempfile::Builder::new()
        .prefix("new-")
        .tempdir_in(work)
        .map_err(ReceiverError::io("cannot make a repository's folder"))?;
    lay_out(folder.path()).map_err(ReceiverError::io("cannot lay out a repository"))?;
    // Where another was quicker this one goes with its handle.
    match fs::rename(folder.path(), path) {
        Err(_) if path.is_dir() => Ok(()),
        other => other.map_err(ReceiverError::io(format!("cannot make the repository `{}`", path.display()))),
    }
}

/// The least that git and gix take for a bare repository.
pub(super) fn lay_out(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder.join("objects/pack"))?;
    fs::create_dir_all(folder.join("objects/info"))?;
    fs::create_dir_all(folder.join("refs/heads"))?;
    fs::create_dir_all(folder.join("refs/tags"))?;
    fs::write(folder.join("HEAD"), "ref: refs/heads/master\n")?;
    fs::write(folder.join("config"), "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n")
}

/// The apps that have a repository in the folder.
pub(super) fn list(dir: &Path) -> Result<Vec<AppName>, ReceiverError> {
    let entries = fs::read_dir(dir).map_err(ReceiverError::io("cannot list the repositories"))?;
    let name = |entry: fs::DirEntry| AppName::parse(entry.file_name().to_str()?.strip_suffix(".git")?).ok();
    Ok(entries.flatten().filter_map(name).collect())
}

/// Removes a repository: out of sight in one step, then its files.
pub(super) fn remove(path: &Path, work: &Path) -> Result<(), ReceiverError> {
    let grave = tempfile::Builder::new()
        .prefix("old-")
        .tempdir_in(work)
        .map_err(ReceiverError::io("cannot make a folder to remove a repository into"))?;
    match fs::rename(path, grave.path().join("repository")) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other.map_err(ReceiverError::io(format!("cannot remove the repository `{}`", path.display()))),
    }
}

/// Removes what only a killed server can have left: the work folder's content, quarantines, packs without an
/// index, locks of refs.
pub(super) fn sweep(dir: &Path) -> Result<(), ReceiverError> {
    let context = || ReceiverError::io(format!("cannot sweep `{}`", dir.display()));
    let work = dir.join(WORK);
    fs::create_dir_all(dir).map_err(context())?;
    match fs::remove_dir_all(&work) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(context()(error)),
        _ => fs::create_dir_all(&work).map_err(context())?,
    }
    for entry in fs::read_dir(dir).map_err(context())? {
        let path = entry.map_err(context())?.path();
        if path.extension().is_some_and(|extension| extension == "git") {
            sweep_one(&path).map_err(context())?;
        }
    }
    Ok(())
}

fn sweep_one(repository: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(repository.join("objects"))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(INCOMING) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    for entry in fs::read_dir(repository.join("objects/pack"))? {
        let path = entry?.path();
        let stray = match path.extension().and_then(|extension| extension.to_str()) {
            Some("pack") => !path.with_extension("idx").exists(),
            Some("idx" | repack::UNREACHABLE) => !path.with_extension("pack").exists(),
            _ => false,
        };
        if stray {
            fs::remove_file(&path)?;
        }
    }
    for name in ["HEAD.lock", "packed-refs.lock"] {
        match fs::remove_file(repository.join(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    unlock(&repository.join("refs"))
}

/// Removes the locks of ref transactions that were cut off; no ref's name can end like that.
fn unlock(refs: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(refs)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            unlock(&entry.path())?;
        } else if entry.path().extension().is_some_and(|extension| extension == "lock") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_leaves_only_what_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        sweep(dir.path()).unwrap();
        let (path, work) = (dir.path().join("app.git"), dir.path().join(WORK));
        create(&path, &work).unwrap();
        create(&path, &work).unwrap();
        assert!(open(&path).unwrap().head_name().unwrap().is_some());
        for file in ["objects/tmp_incoming-x/objects/pack/a", "objects/pack/pack-1.pack", "objects/pack/pack-2.idx"] {
            fs::create_dir_all(path.join(file).parent().unwrap()).unwrap();
            fs::write(path.join(file), "x").unwrap();
        }
        for whole in ["objects/pack/pack-3.pack", "objects/pack/pack-3.idx"] {
            fs::write(path.join(whole), "x").unwrap();
        }
        fs::write(work.join("stale"), "x").unwrap();
        for lock in ["HEAD.lock", "packed-refs.lock", "refs/heads/master.lock", "refs/tags/v.lock"] {
            fs::write(path.join(lock), "x").unwrap();
        }
        sweep(dir.path()).unwrap();
        assert!(!path.join("objects/tmp_incoming-x").exists());
        assert_eq!(fs::read_dir(path.join("objects/pack")).unwrap().count(), 2);
        assert_eq!(fs::read_dir(&work).unwrap().count(), 0);
        assert_eq!(fs::read_dir(path.join("refs/heads")).unwrap().count(), 0);
        assert!(!path.join("HEAD.lock").exists() && !path.join("packed-refs.lock").exists());
        remove(&path, &work).unwrap();
        remove(&path, &work).unwrap();
        assert!(!path.exists());
    }
}
