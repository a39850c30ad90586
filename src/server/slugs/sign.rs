//! URLs that open one slug to whoever holds them, until they expire: HMAC-SHA256 (RFC 2104) over digest and expiry.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use url::Url;
use zeroize::Zeroizing;

use crate::server::domain::SlugDigest;

type HmacSha256 = Hmac<Sha256>;

/// Holds the signing key.
pub(super) struct Signer(HmacSha256);

impl Signer {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        // HMAC itself pads a short key to its block with zeros.
        let mut block = Zeroizing::new([0_u8; 64]);
        block[..key.len()].copy_from_slice(key);
        Self(HmacSha256::new((&*block).into()))
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

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
