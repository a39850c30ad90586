//! Visits with a browser, by a cookie. Who signs in gets an API key of the visit's own, which the cookie holds sealed: the
//! visit ends with the key (a reset, another password, the account's end), and no table is needed for it.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::ActionError;
use super::account::{Accounts, Credentials, MintedKey, digest};
use crate::server::domain::User;

/// How long a visit lasts.
pub const SESSION_LIFE: SignedDuration = SignedDuration::from_hours(14 * 24);
/// What its cookie is sealed for.
const CONTEXT: &str = "browser session";

/// A visit that has begun.
pub struct Session {
    /// Whose.
    pub user: User,
    /// Its key.
    pub key: MintedKey,
    /// The cookie's value: letters, digits, `-` and `_`.
    pub cookie: String,
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    email: String,
    key: String,
    /// Seconds since 1970.
    until: i64,
}

impl Accounts {
    /// Signs in with the password, as [`Accounts::sign_in`] does, and begins a visit.
    pub async fn begin_session(
        &self,
        tried: Credentials,
        second: Option<&str>,
        from: IpAddr,
    ) -> Result<Session, ActionError> {
        let user = self.sign_in(&[tried], second, from).await?;
        let key = self.mint_key(user.id).await?;
        let until = (self.clock.now() + SESSION_LIFE).as_second();
        let sealed = Sealed { email: user.email.to_string(), key: key.text.clone(), until };
        let text = serde_json::to_vec(&sealed).map_err(ActionError::internal)?;
        let cookie = URL_SAFE_NO_PAD.encode(self.sealer.seal(CONTEXT, &text));
        Ok(Session { user, key, cookie })
    }

    /// The e-mail address and key in a cookie, if it is one of ours and its time is not over. Whether the key is still good
    /// is for [`Accounts::authenticate`] to say.
    pub fn session(&self, cookie: &str) -> Option<Credentials> {
        let text = self.sealer.unseal(CONTEXT, &URL_SAFE_NO_PAD.decode(cookie).ok()?).ok()?;
        let Sealed { email, key, until } = serde_json::from_slice(&text).ok()?;
        (self.clock.now().as_second() < until).then_some(Credentials { email, secret: key })
    }

    /// Ends the visit with that key.
    pub async fn end_session(&self, user: &User, key: &str) -> Result<(), ActionError> {
        Ok(self.store.remove_key(user.id, digest(key)).await?)
    }

    /// Whether browsers reach the platform by TLS: then cookies are for nothing else.
    pub fn secure(&self) -> bool {
        self.rules.api_url.starts_with("https:")
    }
}
