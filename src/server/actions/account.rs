//! Accounts: signing up and in, passwords, API keys.

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::ActionError;
use crate::server::clock::Clock;
use crate::server::domain::{Email, Invalid, User};
use crate::server::store::{Digest, Store};

/// An e-mail address and a password or key, as somebody gave them.
#[derive(Clone)]
pub struct Credentials {
    /// Not yet checked to be an address.
    pub email: String,
    /// A password at `login`, an API key everywhere else.
    pub secret: String,
}

/// What concerns accounts.
pub struct Accounts {
    store: Store,
    clock: Clock,
}

impl Accounts {
    /// Who presents one of these e-mail addresses with a key of its own, and when the key expires.
    pub async fn authenticate(&self, tried: &[Credentials]) -> Result<(User, Timestamp), ActionError> {
        let mut refusal = "you are not signed in; run `gigalixir login`";
        for Credentials { email, secret } in tried {
            refusal = "e-mail or API key is wrong; run `gigalixir login` again";
            let Ok(email) = Email::parse(email) else { continue };
            match self.store.user_by_key(digest(secret)).await? {
                Some((user, _)) if user.email != email => {}
                Some((user, expires)) if expires > self.clock.now() => return Ok((user, expires)),
                Some(_) => {
                    refusal = "the API key has expired; run `gigalixir login` again";
                    break;
                }
                None => {}
            }
        }
        Err(ActionError::Unauthorized(Invalid::new("", refusal)))
    }
}

/// What is kept of a key, code or token. Looking one up by it is constant-time in the secret: who could steer the
/// comparison of digests would have found a preimage.
fn digest(secret: &str) -> Digest {
    Sha256::digest(secret.as_bytes()).into()
}
