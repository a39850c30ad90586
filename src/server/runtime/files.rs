//! Files that are there whole or not at all, and for the server's user alone.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::server::domain::{AppName, ProcessType, WorkloadId};

/// What a generation's folder or file is named. A dot cannot occur in its parts.
pub(in crate::server::runtime) fn generation_name(id: &WorkloadId) -> String {
    format!("{}.{}.{}", id.app, id.process, id.generation)
}

/// Makes a folder for the server's user alone.
pub(in crate::server::runtime) fn make(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Writes a file that is there whole or not at all, for the server's user alone.
pub(in crate::server::runtime) fn write_json<T: Serialize>(file: &Path, value: &T, durable: bool) -> io::Result<()> {
    let new = file.with_extension("new");
    let mut out = File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    out.write_all(&serde_json::to_vec(value)?)?;
    if durable {
        out.sync_all()?;
    }
    drop(out);
    fs::rename(&new, file)?;
    if durable { sync_folder_of(file) } else { Ok(()) }
}

pub(in crate::server::runtime) fn read_json<T: DeserializeOwned>(file: &Path) -> io::Result<T> {
    Ok(serde_json::from_slice(&fs::read(file)?)?)
}

/// Makes a rename or removal in the folder of `file` survive a power cut.
pub(in crate::server::runtime) fn sync_folder_of(file: &Path) -> io::Result<()> {
    file.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

/// Removes a file, durably; one that is not there is no error.
pub(in crate::server::runtime) fn remove_file(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Ok(()) => sync_folder_of(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes a folder with all it holds, folders included that an app made unwritable.
pub(in crate::server::runtime) fn remove_tree(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            for entry in walkdir::WalkDir::new(dir).into_iter().flatten().filter(|entry| entry.file_type().is_dir()) {
                fs::set_permissions(entry.path(), Permissions::from_mode(0o700))?;
            }
            fs::remove_dir_all(dir)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The folders in a folder.
pub(in crate::server::runtime) fn folders(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            folders.push(entry.path());
        }
    }
    folders.sort();
    Ok(folders)
}

/// The generation that was named so.
pub(in crate::server::runtime) fn generation_of(name: &str) -> Option<WorkloadId> {
    let mut parts = name.split('.');
    let id = WorkloadId {
        app: AppName::parse(parts.next()?).ok()?,
        process: ProcessType::parse(parts.next()?).ok()?,
        generation: parts.next()?.parse().ok()?,
    };
    (parts.next().is_none()).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unwritable_folders_go_too() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("app");
        make(&tree.join("a/b")).unwrap();
        fs::write(tree.join("a/b/file"), "x").unwrap();
        fs::set_permissions(tree.join("a/b"), Permissions::from_mode(0o500)).unwrap();
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
        remove_tree(&tree).unwrap();
    }
}
