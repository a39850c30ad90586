//! Addresses of this server that open one thing to whoever holds them, until they expire: HMAC-SHA256 (RFC 2104) over what
//! they open and when they expire. Each kind of thing has a key of its own, so no address is good for another kind.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use url::Url;
use zeroize::Zeroizing;

type HmacSha256 = Hmac<Sha256>;

/// Holds the signing key.
pub struct Signer(HmacSha256);

impl Signer {
    /// `key` signs addresses of one kind and is used for nothing else.
    pub fn new(key: &[u8; 32]) -> Self {
        // HMAC itself pads a short key to its block with zeros.
        let mut block = Zeroizing::new([0_u8; 64]);
        block[..key.len()].copy_from_slice(key);
        Self(HmacSha256::new((&*block).into()))
    }

    /// The address `path` below `base`, which opens `subject`.
    pub fn url(&self, base: &Url, path: &str, subject: &str, ttl: Duration) -> Url {
        let expires = now().saturating_add(ttl.as_secs());
        let signature = hex::encode(self.mac(subject, expires).finalize().into_bytes());
        let mut url = base.clone();
        url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
        url.set_query(Some(&format!("expires={expires}&signature={signature}")));
        url
    }

    /// Whether `signature` is ours for `subject` and has not expired. `expires` is in seconds since 1970.
    pub fn verify(&self, subject: &str, expires: u64, signature: &str) -> bool {
        // `verify_slice` compares in constant time.
        let genuine = hex::decode(signature).is_ok_and(|bytes| self.mac(subject, expires).verify_slice(&bytes).is_ok());
        genuine && now() < expires
    }

    fn mac(&self, subject: &str, expires: u64) -> HmacSha256 {
        self.0.clone().chain_update(subject).chain_update(expires.to_be_bytes())
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer")
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
