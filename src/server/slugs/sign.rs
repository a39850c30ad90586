//! URLs that open one slug to whoever holds them, until they expire: HMAC-SHA256 (RFC 2104) over digest and expiry.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use url::Url;

use crate::server::domain::SlugDigest;

type HmacSha256 = Hmac<Sha256>;

/// Holds the signing key.
pub(super) struct Signer(HmacSha256);

impl Signer {
    /// A key of its own, so that a signature is worth nothing to anything else that uses the master key.
    pub(super) fn derive(master_key: &[u8]) -> Self {
        let derived = keyed(master_key).chain_update(b"gigalixir slug urls v1").finalize().into_bytes();
        Self(keyed(&derived))
    }

    pub(super) fn url(&self, base: &Url, digest: &SlugDigest, ttl: Duration) -> Url {
        let expires = now().saturating_add(ttl.as_secs());
        let signature = hex::encode(self.mac(digest, expires).finalize().into_bytes());
        let mut url = base.clone();
        let path = format!("{}/slugs/{digest}.tar.gz", base.path().trim_end_matches('/'));
        url.set_path(&path);
        url.set_query(Some(&format!("expires={expires}&signature={signature}")));
        url
    }

    pub(super) fn verify(&self, digest: &SlugDigest, expires: u64, signature: &str) -> bool {
        // `verify_slice` compares in constant time.
        let genuine = hex::decode(signature).is_ok_and(|bytes| self.mac(digest, expires).verify_slice(&bytes).is_ok());
        genuine && now() < expires
    }

    fn mac(&self, digest: &SlugDigest, expires: u64) -> HmacSha256 {
        self.0.clone().chain_update(digest.as_str()).chain_update(expires.to_be_bytes())
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer")
    }
}

fn keyed(key: &[u8]) -> HmacSha256 {
    // As RFC 2104 does with long keys; of exactly one block, no length can be refused.
    let mut block = [0_u8; 64];
    if key.len() <= block.len() {
        block[..key.len()].copy_from_slice(key);
    } else {
        use sha2::Digest;
        block[..32].copy_from_slice(&Sha256::digest(key));
    }
    HmacSha256::new(&block.into())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
