use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest, Sha256};

use super::Invalid;

/// Longer than any key that is in use (RSA of 16,384 bits).
const LONGEST: usize = 4096;
/// Bits of an RSA modulus.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=16_384;

/// An ssh public key as `authorized_keys` has it: `TYPE BASE64 [COMMENT]`, one line, no options (RFC 4253 6.6, RFC 5656,
/// RFC 8709; the `sk-` types are OpenSSH's `PROTOCOL.u2f`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshKey {
    line: String,
    fingerprint: [u8; 32],
}

impl SshKey {
    /// Reads a line. That the inner lengths add up is checked; that a point is on its curve is not.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let refused = |why: &str| Invalid::new("ssh_key", why);
        let line = text.trim();
        if line.contains("PRIVATE KEY") {
            return Err(refused("is a private key: keep it, and give the file that ends in `.pub`"));
        }
        if line.is_empty() {
            return Err(refused("can't be blank"));
        }
        if line.len() > LONGEST || line.chars().any(char::is_control) {
            return Err(refused("has invalid format: it should be the one line of a `.pub` file"));
        }
        let mut words = line.splitn(3, ' ');
        let (kind, body) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let blob = STANDARD.decode(body).ok().filter(|blob| !blob.is_empty());
        let blob =
            blob.ok_or_else(|| refused("has invalid format: it should look like `ssh-ed25519 AAAA… me@example.com`"))?;
        check(kind, &blob).map_err(|why| Invalid::new("ssh_key", why))?;
        Ok(Self { line: line.to_owned(), fingerprint: Sha256::digest(&blob).into() })
    }

    /// The line, comment included.
    pub fn as_str(&self) -> &str {
        &self.line
    }

    /// SHA-256 of the key without its comment: two lines of one fingerprint are one key.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }
}

/// The fingerprint as `ssh-keygen -l` prints it; never the key.
impl fmt::Display for SshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SHA256:{}", STANDARD_NO_PAD.encode(self.fingerprint))
    }
}

fn check(kind: &str, blob: &[u8]) -> Result<(), String> {
    let broken = || "is damaged: its inside does not fit its type; was it copied whole?".to_owned();
    let fields = strings(blob).ok_or_else(broken)?;
    let Some((name, rest)) = fields.split_first() else { return Err(broken()) };
    if *name != kind.as_bytes() {
        return Err(broken());
    }
    let point = |curve: &[u8], found: &[u8], side: usize, point: &[u8]| {
        found == curve && point.len() == 1 + 2 * side && point.first() == Some(&4)
    };
    let fits = match (kind, rest) {
        ("ssh-ed25519", [key]) => key.len() == 32,
        ("sk-ssh-ed25519@openssh.com", [key, application]) => key.len() == 32 && !application.is_empty(),
        ("ecdsa-sha2-nistp256", [curve, key]) => point(b"nistp256", curve, 32, key),
        ("ecdsa-sha2-nistp384", [curve, key]) => point(b"nistp384", curve, 48, key),
        ("ecdsa-sha2-nistp521", [curve, key]) => point(b"nistp521", curve, 66, key),
        ("sk-ecdsa-sha2-nistp256@openssh.com", [curve, key, application]) => {
            point(b"nistp256", curve, 32, key) && !application.is_empty()
        }
        ("ssh-rsa", [exponent, modulus]) => {
            let bits = bits(modulus);
            if !RSA_BITS.contains(&bits) {
                return Err(format!("is an RSA key of {bits} bits; at least {} are needed", RSA_BITS.start()));
            }
            (2..=64).contains(&self::bits(exponent)) && exponent.last().is_some_and(|last| last & 1 == 1)
        }
        ("ssh-dss", _) => return Err("is of a type that ssh itself no longer takes (DSA); make an ed25519 key".into()),
        _ => false,
    };
    let known = kind == "ssh-rsa" || kind.contains("ed25519") || kind.contains("ecdsa");
    match (fits, known) {
        (true, _) => Ok(()),
        (false, true) => Err(broken()),
        (false, false) => Err("is of an unknown type; ed25519, ecdsa and rsa keys are taken".into()),
    }
}

/// A blob's strings (RFC 4251 5: a length of four bytes, then so many). `None` if they do not fill it exactly.
fn strings(mut blob: &[u8]) -> Option<Vec<&[u8]>> {
    let mut found = Vec::new();
    while !blob.is_empty() {
        let (length, rest) = blob.split_first_chunk::<4>()?;
        let (string, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        found.push(string);
        blob = rest;
    }
    Some(found)
}

/// Bits of a non-negative mpint; 0 for a negative one.
fn bits(mpint: &[u8]) -> usize {
    match mpint {
        [first, ..] if first & 0x80 != 0 => 0,
        _ => {
            let digits = &mpint[mpint.iter().take_while(|byte| **byte == 0).count()..];
            digits.first().map_or(0, |first| digits.len() * 8 - first.leading_zeros() as usize)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me@x.org";

    fn line(kind: &str, fields: &[&[u8]]) -> String {
        let mut blob = Vec::new();
        for field in std::iter::once(kind.as_bytes()).chain(fields.iter().copied()) {
            blob.extend_from_slice(&(field.len() as u32).to_be_bytes());
            blob.extend_from_slice(field);
        }
        format!("{kind} {}", STANDARD.encode(blob))
    }

    fn why(text: &str) -> String {
        SshKey::parse(text).unwrap_err().message
    }

    fn rsa(bytes: usize) -> String {
        line("ssh-rsa", &[&[1, 0, 1], &[&[0][..], &vec![0xff; bytes]].concat()])
    }

    #[test]
    fn keys_that_people_have() {
        let key = SshKey::parse(&format!("  {ED25519}\n")).unwrap();
        assert_eq!(key.as_str(), ED25519);
        let bare = SshKey::parse(ED25519.rsplit_once(' ').unwrap().0).unwrap();
        assert_eq!(bare.fingerprint(), key.fingerprint(), "the comment does not count");
        // GitHub's key, whose fingerprint is published.
        assert_eq!(bare.to_string(), "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU");
        SshKey::parse(&rsa(256)).unwrap();
        SshKey::parse(&line("ecdsa-sha2-nistp256", &[b"nistp256", &[4; 65]])).unwrap();
        SshKey::parse(&line("sk-ssh-ed25519@openssh.com", &[&[7; 32], b"ssh:"])).unwrap();
    }

    #[test]
    fn what_is_no_key_is_told_apart() {
        assert!(why("").contains("blank"));
        assert!(why("hello").contains("invalid format"));
        assert!(why("ssh-ed25519").contains("invalid format"));
        assert!(why(&format!("{ED25519}\n{ED25519}")).contains("one line"));
        assert!(why("-----BEGIN OPENSSH PRIVATE KEY-----").contains("private"));
        assert!(why(&rsa(128)).contains("1024 bits"));
        assert!(why(&rsa(0)).contains("0 bits"));
        assert!(why(&line("ssh-dss", &[b"x"])).contains("DSA"));
        assert!(why(&line("ssh-new", &[b"x"])).contains("unknown"));
        assert!(why(&line("ssh-ed25519", &[&[7; 31]])).contains("damaged"));
        assert!(why(&line("ecdsa-sha2-nistp256", &[b"nistp384", &[4; 65]])).contains("damaged"));
        assert!(why(&ED25519.replace("ssh-ed25519", "ssh-rsa")).contains("damaged"), "two names");
        assert!(why("command=\"x\" ssh-ed25519 AAAA").contains("invalid format"), "no options");
    }

    #[test]
    fn a_cut_key_is_never_one() {
        let (head, comment) = ED25519.rsplit_once(' ').unwrap();
        for at in 12..head.len() {
            assert!(SshKey::parse(&format!("{} {comment}", &head[..at])).is_err(), "{at}");
        }
    }
}
