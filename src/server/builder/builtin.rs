//! The buildpacks that the platform brings, and the script that drives a build: embedded in the binary, unpacked once
//! for each version of them.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rust_embed::{EmbeddedFile, RustEmbed};
use sha2::{Digest, Sha256};

#[derive(RustEmbed)]
#[folder = "config/buildpacks"]
struct Embedded;

/// What runs all packs of a build inside the sandbox.
const DRIVER: &str = include_str!("driver.bash");
/// Who is who inside the sandbox.
const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\napp:x:1000:1000:app:/app:/bin/bash\n";
const GROUP: &str = "root:x:0:\napp:x:1000:\n";

/// The unpacked files; nobody changes them.
#[derive(Debug, Clone)]
pub(super) struct Builtin {
    root: PathBuf,
    names: Vec<String>,
}

impl Builtin {
    /// Unpacks them below `dir` if this version is not there yet, and removes other versions.
    pub(super) fn unpack(dir: &Path) -> io::Result<Self> {
        let files: Vec<(String, EmbeddedFile)> =
            Embedded::iter().filter_map(|name| Some((name.to_string(), Embedded::get(&name)?))).collect();
        let mut hash = Sha256::new().chain_update(DRIVER).chain_update(PASSWD).chain_update(GROUP);
        for (name, file) in &files {
            hash.update(format!("{name}\0{}\0", file.data.len()));
            hash.update(&file.data);
        }
        let version = hex::encode(hash.finalize());
        let root = dir.join(&version);
        let mut names: Vec<_> = files.iter().filter_map(|(name, _)| Some(name.split_once('/')?.0.to_owned())).collect();
        names.sort();
        names.dedup();
        if !root.is_dir() {
            fs::create_dir_all(dir)?;
            let fresh = tempfile::tempdir_in(dir)?;
            put(&fresh.path().join("driver"), DRIVER.as_bytes())?;
            put(&fresh.path().join("passwd"), PASSWD.as_bytes())?;
            put(&fresh.path().join("group"), GROUP.as_bytes())?;
            for (name, file) in &files {
                put(&fresh.path().join("packs").join(name), &file.data)?;
            }
            fs::rename(fresh.path(), &root)?;
        }
        for other in fs::read_dir(dir)?.flatten().filter(|entry| entry.file_name() != *version) {
            fs::remove_dir_all(other.path())?;
        }
        Ok(Self { root, names })
    }

    /// The packs' names, sorted.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// A pack's folder.
    pub(super) fn pack(&self, name: &str) -> PathBuf {
        self.root.join("packs").join(name)
    }

    /// One of `driver`, `passwd` and `group`.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

fn put(path: &Path, data: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mode = if data.starts_with(b"#!") { 0o755 } else { 0o644 };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // Also under a umask that would hide it from the user inside.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(data)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn unpacked_once_and_old_versions_go() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("old")).unwrap();
        let builtin = Builtin::unpack(dir.path()).unwrap();
        assert_eq!(builtin.names(), ["elixir", "procfile"]);
        assert!(!dir.path().join("old").exists());
        for name in ["elixir", "procfile"] {
            for program in ["detect", "compile", "release"] {
                let file = builtin.pack(name).join("bin").join(program);
                assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o111, 0o111, "{}", file.display());
            }
        }
        let before = fs::metadata(builtin.file("driver")).unwrap().modified().unwrap();
        let again = Builtin::unpack(dir.path()).unwrap();
        assert_eq!(fs::metadata(again.file("driver")).unwrap().modified().unwrap(), before);
    }
}
