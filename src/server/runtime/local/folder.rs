//! What lies on disk, and how it gets there whole.
//!
//! ```text
//! DATA/replicas/APP.PROCESS.GENERATION/      a generation
//!   workload.json                            the wish; without it, the folder is on its way out
//!   NAME/                                    one replica
//!     spec.json                              what its shim runs; without it, the folder is half made
//!     lock                                   held by the living shim
//!     control                                the shim's socket
//!     state.json                             the shim's last word: restarts, last exit
//!     stopping                               it was told to end
//!     log.N, acknowledged                    its output from line N on, and how far the server has taken it
//!     slug                                   a second link to the archive, so that no sweep takes it away
//!     app/ tmp/ etc/ entrypoint directory/   what the sandbox shows
//! ```
//!
//! Everything is for the server's user alone: `workload.json`, `spec.json` and `args` hold secrets.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::directory::Membership;
use crate::server::confine::Limits;
use crate::server::domain::{ProcessType, WorkloadId};

pub(super) const WORKLOAD: &str = "workload.json";
pub(super) const SPEC: &str = "spec.json";
pub(super) const STATE: &str = "state.json";
pub(super) const LOCK: &str = "lock";
pub(super) const CONTROL: &str = "control";
pub(super) const STOPPING: &str = "stopping";
pub(super) const SLUG: &str = "slug";

/// What a shim runs. Complete: a shim reads nothing else.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Spec {
    /// The replica's name.
    pub(super) name: String,
    /// Its process type and index: `web.1`.
    pub(super) process: ProcessType,
    pub(super) index: u32,
    /// The Procfile line.
    pub(super) command: String,
    /// The whole environment. Secret.
    pub(super) env: BTreeMap<String, String>,
    /// Its number on this machine: the port it is given, and what its address is made of.
    pub(super) slot: u16,
    /// The port of its own `epmd`.
    pub(super) epmd_port: u16,
    /// The port of its Erlang node, the same for all of its app. `None`: made by an earlier version.
    #[serde(default)]
    pub(super) dist_port: Option<u16>,
    /// Where it asks who else there is of its app.
    #[serde(default)]
    pub(super) directory: Option<Membership>,
    /// The folders of its control group; none where there are no control groups.
    pub(super) cgroup: Vec<PathBuf>,
    /// What the control group bounds; where there is none, memory is bounded per process.
    pub(super) limits: Limits,
}

impl Spec {
    /// `web.1`
    pub(super) fn label(&self) -> String {
        format!("{}.{}", self.process, self.index)
    }

    /// Its own loopback address, of 127.64.0.0/10.
    pub(super) fn ip(&self) -> IpAddr {
        address_of(self.slot)
    }
}

/// The loopback address that belongs to a slot.
pub(super) fn address_of(slot: u16) -> IpAddr {
    let [high, low] = slot.to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(127, 64, high, low))
}

/// The name of a generation's folder. A dot cannot occur in its parts.
pub(super) fn generation_folder(id: &WorkloadId) -> String {
    format!("{}.{}.{}", id.app, id.process, id.generation)
}

/// Makes a folder for the server's user alone.
pub(super) fn make(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Writes a file that is there whole or not at all, for the server's user alone.
pub(super) fn write_json<T: Serialize>(file: &Path, value: &T, durable: bool) -> io::Result<()> {
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

pub(super) fn read_json<T: DeserializeOwned>(file: &Path) -> io::Result<T> {
    Ok(serde_json::from_slice(&fs::read(file)?)?)
}

/// Makes a rename or removal in the folder of `file` survive a power cut.
pub(super) fn sync_folder_of(file: &Path) -> io::Result<()> {
    file.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

/// Removes a file, durably; one that is not there is no error.
pub(super) fn remove_file(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Ok(()) => sync_folder_of(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes a folder with all it holds, folders included that an app made unwritable.
pub(super) fn remove_tree(dir: &Path) -> io::Result<()> {
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
pub(super) fn folders(dir: &Path) -> io::Result<Vec<PathBuf>> {
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

    #[test]
    fn slots_have_addresses_of_their_own() {
        assert_eq!(address_of(0x1234).to_string(), "127.64.18.52");
    }
}
