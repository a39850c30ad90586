//! The keys by which people know this server again: made once, kept for ever. A lost one is a warning of an attack in
//! every client, so nothing replaces one that cannot be read.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, EcdsaCurve, PrivateKey, ssh_key};

/// File name and algorithm. No RSA: everything that knows `rsa-sha2` knows one of these.
const KEYS: [(&str, Algorithm); 2] =
    [("host_ed25519", Algorithm::Ed25519), ("host_ecdsa", Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 })];

/// Why there is no host key.
#[derive(Debug, thiserror::Error)]
pub enum HostKeyError {
    /// It cannot be read or written.
    #[error("ssh host key `{}`: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no key.
    #[error(
        "ssh host key `{}` is damaged ({source}): restore it from a backup; without it every client warns of an attack",
        path.display()
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why.
        source: ssh_key::Error,
    },
}

/// Reads the keys in `folder`, or makes those that are missing there.
pub(super) fn open(folder: &Path) -> Result<Vec<PrivateKey>, HostKeyError> {
    KEYS.into_iter().map(|(name, algorithm)| read_or_make(folder, &folder.join(name), algorithm)).collect()
}

fn read_or_make(folder: &Path, path: &Path, algorithm: Algorithm) -> Result<PrivateKey, HostKeyError> {
    let failed = |source| HostKeyError::File { path: path.to_owned(), source };
    let damaged = |source| HostKeyError::Damaged { path: path.to_owned(), source };
    match std::fs::read_to_string(path) {
        Ok(text) => PrivateKey::from_openssh(text).map_err(damaged),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let key = PrivateKey::random(&mut rand::rng(), algorithm).map_err(damaged)?;
            let text = key.to_openssh(LineEnding::LF).map_err(damaged)?;
            write(folder, path, text.as_bytes()).map_err(failed)?;
            Ok(key)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Whole or not at all, for its owner only (as temporary files are), and on disk when this returns.
fn write(folder: &Path, path: &Path, text: &[u8]) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path)?;
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn they_are_made_once_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("ssh");
        let public = |keys: Vec<PrivateKey>| -> Vec<_> { keys.iter().map(|key| key.public_key().clone()).collect() };
        let first = public(open(&folder).unwrap());
        assert_eq!(first.len(), 2);
        assert_eq!(public(open(&folder).unwrap()), first);
        for file in std::fs::read_dir(&folder).unwrap() {
            assert_eq!(file.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_damaged_one_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path()).unwrap();
        let path = folder.path().join("host_ed25519");
        std::fs::write(&path, "damaged").unwrap();
        assert!(open(folder.path()).unwrap_err().to_string().contains("backup"));
        assert_eq!(std::fs::read_to_string(path).unwrap(), "damaged");
    }
}
