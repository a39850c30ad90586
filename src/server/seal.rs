//! Secrets at rest: AES-256-GCM under one key, which is a file beside the database and not in it. A copy of the
//! database alone tells nothing.
//!
//! What is sealed is bound to its context (the row it stands in): moved elsewhere it does not unseal. Layout: one
//! version byte, 12 bytes nonce, ciphertext, 16 bytes tag. Nonces are random, which is good for 2^32 seals per key.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

const VERSION: u8 = 1;
const NONCE: usize = 12;
const KEY: usize = 32;

/// Holds the key.
pub struct Sealer {
    key: Zeroizing<[u8; KEY]>,
    cipher: Aes256Gcm,
}

/// Why sealing is not possible.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The key file cannot be read or made.
    #[error("key file `{}`: {source}", path.display())]
    KeyFile {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The key file is no key.
    #[error("key file `{}` is damaged: restore it from a backup, without it no app's configuration can be read", .0.display())]
    DamagedKey(PathBuf),
    /// The sealed bytes were changed, moved to another row, or sealed with another key.
    #[error("a sealed value does not open: it was changed, or sealed with another key file")]
    DoesNotOpen,
}

impl Sealer {
    /// Reads the key from `path`, or makes one there (mode 0600, durable) when there is no such file.
    pub fn open(path: &Path) -> Result<Self, SealError> {
        let failed = |source| SealError::KeyFile { path: path.to_owned(), source };
        let text = match read_private(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                make(path).map_err(failed)?;
                read_private(path)
            }
            read => read,
        };
        let text = text.map_err(failed)?;
        let mut key = Zeroizing::new([0; KEY]);
        hex::decode_to_slice(text.trim(), &mut key[..]).map_err(|_| SealError::DamagedKey(path.to_owned()))?;
        let cipher = Aes256Gcm::new((&*derived(&key, "seal")).into());
        Ok(Self { key, cipher })
    }

    /// Seals `plain`; only the same `context` opens it again.
    pub fn seal(&self, context: &str, plain: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE] = rand::random();
        let payload = Payload { msg: plain, aad: context.as_bytes() };
        // Only a message of 64 GiB is refused, which does not fit in memory; its empty result would not open.
        let sealed = self.cipher.encrypt(&Nonce::from(nonce), payload).unwrap_or_default();
        [&[VERSION][..], &nonce, &sealed].concat()
    }

    /// Opens what [`Sealer::seal`] made for `context`.
    pub fn unseal(&self, context: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let Some(([VERSION], rest)) = sealed.split_first_chunk() else { return Err(SealError::DoesNotOpen) };
        let (nonce, text) = rest.split_first_chunk::<NONCE>().ok_or(SealError::DoesNotOpen)?;
        let payload = Payload { msg: text, aad: context.as_bytes() };
        self.cipher.decrypt(&Nonce::from(*nonce), payload).map_err(|_| SealError::DoesNotOpen)
    }

    /// Another key, for another purpose: it tells nothing of this one.
    pub fn derive(&self, purpose: &str) -> Zeroizing<[u8; KEY]> {
        derived(&self.key, purpose)
    }
}

/// HMAC-SHA-256 as a key derivation (RFC 5869's expand step, one block).
fn derived(key: &[u8; KEY], purpose: &str) -> Zeroizing<[u8; KEY]> {
    // HMAC itself pads a short key to its block with zeros.
    let mut block = Zeroizing::new([0; 64]);
    block[..KEY].copy_from_slice(key);
    let mut mac = <Hmac<Sha256> as KeyInit>::new((&*block).into());
    mac.update(purpose.as_bytes());
    mac.update(&[1]);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

fn read_private(path: &Path) -> std::io::Result<Zeroizing<String>> {
    let mut file = File::open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    }
    let mut text = Zeroizing::new(String::with_capacity(2 * KEY + 2));
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// A key appears whole or not at all, and never in place of another.
fn make(path: &Path) -> std::io::Result<()> {
    let key = Zeroizing::new(rand::random::<[u8; KEY]>());
    let text = Zeroizing::new(format!("{}\n", hex::encode(&key[..])));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Made with mode 0600.
    let mut fresh = tempfile::NamedTempFile::new_in(folder)?;
    fresh.write_all(text.as_bytes())?;
    fresh.as_file().sync_all()?;
    match fresh.persist_noclobber(path) {
        Err(refused) if refused.error.kind() != ErrorKind::AlreadyExists => return Err(refused.error),
        _ => {}
    }
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(folder: &tempfile::TempDir) -> Sealer {
        Sealer::open(&folder.path().join("key")).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let sealed = sealer(&folder).seal("app:1", b"SECRET=1");
        assert_eq!(sealer(&folder).unseal("app:1", &sealed).unwrap(), b"SECRET=1");
        assert!(!sealed.windows(6).any(|part| part == b"SECRET"));
        assert_eq!(sealer(&folder).unseal("", &sealer(&folder).seal("", b"")).unwrap(), b"");
        let mode = std::fs::metadata(folder.path().join("key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no scaffolding stays");
    }

    #[test]
    fn nothing_else_opens() {
        let folder = tempfile::tempdir().unwrap();
        let one = sealer(&folder);
        let sealed = one.seal("app:1", b"secret");
        assert!(one.unseal("app:2", &sealed).is_err(), "another row");
        assert!(sealer(&tempfile::tempdir().unwrap()).unseal("app:1", &sealed).is_err(), "another key");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(one.unseal("app:1", &changed).is_err(), "byte {at}");
            assert!(one.unseal("app:1", &sealed[..at]).is_err(), "cut at {at}");
        }
        assert_ne!(one.seal("app:1", b"secret"), sealed, "the nonce is fresh");
    }

    #[test]
    fn a_loose_key_file_is_made_private_and_a_damaged_one_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        sealer(&folder);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        sealer(&folder);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "abc").unwrap();
        assert!(matches!(Sealer::open(&path), Err(SealError::DamagedKey(_))));
        assert_eq!(std::fs::read(&path).unwrap(), b"abc", "never overwritten");
    }

    #[test]
    fn two_that_start_at_once_share_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let keys: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| Sealer::open(&path).map(|s| s.key.to_vec()))).collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap().ok()).collect()
        });
        assert!(!keys.is_empty() && keys.iter().all(|key| *key == keys[0]));
    }

    #[test]
    fn derived_keys_differ() {
        let folder = tempfile::tempdir().unwrap();
        let sealer = sealer(&folder);
        assert_ne!(sealer.derive("a"), sealer.derive("b"));
        assert_eq!(sealer.derive("a"), sealer.derive("a"));
    }
}
