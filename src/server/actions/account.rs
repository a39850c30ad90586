//! Accounts: signing in, passwords, API keys. (Signing up is in `signup.rs`.)
//!
//! A stranger learns nothing about who has an account: a wrong e-mail and a wrong password are one refusal after one
//! hash's time, and asking for a reset answers alike for everybody, before anything is looked up.
//!
//! Who changes the password keeps its API keys; who resets it, because it was lost or stolen, ends them all.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::ActionError;
use super::allowance::Allowance;
use super::passwords::Passwords;
use crate::server::clock::Clock;
use crate::server::config::{Rates, Signups};
use crate::server::domain::{Email, Hostname, Invalid, User, UserId};
use crate::server::mail::{Mailer, letters};
use crate::server::seal::Sealer;
use crate::server::store::{Digest, NewKey, Store};

const KEY_LIFE: SignedDuration = SignedDuration::from_hours(365 * 24);
const RESET_LIFE: SignedDuration = SignedDuration::from_hours(1);
/// Live keys of one person; a login beyond that ends the oldest.
const KEYS_KEPT: u32 = 50;
/// Wrong second factors per account and hour: a guess is right once in about 300,000.
const SECOND_FACTORS: u32 = 10;

/// An e-mail address and a password or key, as somebody gave them.
#[derive(Clone)]
pub struct Credentials {
    /// Not yet checked to be an address.
    pub email: String,
    /// A password at `login`, an API key everywhere else.
    pub secret: String,
}

/// An API key that somebody came with.
#[derive(Debug, Clone, Copy)]
pub struct ShownKey {
    /// Of its text.
    pub(super) hash: Digest,
    /// From then on it is refused.
    pub expires_at: Timestamp,
}

/// An API key on its way to its owner: the only time its text exists here.
#[derive(Clone)]
pub struct MintedKey {
    /// The key.
    pub text: String,
    /// From then on it is refused.
    pub expires_at: Timestamp,
}

/// What the operator decided about accounts.
#[derive(Debug, Clone)]
pub struct AccountRules {
    /// Who may sign up.
    pub signups: Signups,
    /// How often something may be tried.
    pub rates: Rates,
    /// SSH keys that one account may have.
    pub ssh_keys: u32,
    /// Whether use has a price: payment tokens are taken at signup, for the tier STANDARD.
    pub billing: bool,
    /// The platform's name in mails.
    pub domain: Hostname,
    /// The API's address in mails, without a slash at its end.
    pub api_url: String,
}

/// What concerns accounts; cheap to clone.
#[derive(Clone)]
pub struct Accounts {
    pub(super) store: Store,
    pub(super) mailer: Mailer,
    pub(super) clock: Clock,
    pub(super) passwords: Passwords,
    pub(super) sealer: Arc<Sealer>,
    pub(super) rules: Arc<AccountRules>,
    pub(super) limits: Arc<Limits>,
}

/// Who may try how often; forgotten at a restart.
pub(super) struct Limits {
    logins_per_address: Allowance<IpAddr>,
    logins_per_account: Allowance<Email>,
    requests_per_address: Allowance<IpAddr>,
    requests_per_account: Allowance<UserId>,
    pub(super) codes_per_address: Allowance<IpAddr>,
    pub(super) mails_per_recipient: Allowance<Email>,
    pub(super) second_factors: Allowance<UserId>,
}

impl Limits {
    fn new(rates: &Rates) -> Self {
        let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3600));
        Self {
            logins_per_address: Allowance::new(rates.logins_per_address, minute),
            logins_per_account: Allowance::new(rates.logins_per_account, minute),
            requests_per_address: Allowance::new(rates.requests_per_address, minute),
            requests_per_account: Allowance::new(rates.requests_per_account, minute),
            codes_per_address: Allowance::new(rates.codes_per_address, minute),
            mails_per_recipient: Allowance::new(rates.mails_per_recipient, hour),
            second_factors: Allowance::new(SECOND_FACTORS, hour),
        }
    }
}

impl Accounts {
    /// Ready to work.
    pub fn new(
        store: Store,
        mailer: Mailer,
        sealer: Arc<Sealer>,
        rules: AccountRules,
        clock: Clock,
    ) -> Result<Self, ActionError> {
        let limits = Arc::new(Limits::new(&rules.rates));
        Ok(Self { store, mailer, clock, passwords: Passwords::new()?, sealer, rules: Arc::new(rules), limits })
    }

    /// Whether anything may be asked from that network now, see [`network`].
    pub fn admit(&self, from: IpAddr) -> Result<(), ActionError> {
        self.limits.requests_per_address.take(&from)
    }

    /// Who presents one of these e-mail addresses with a key of its own, and the key.
    pub async fn authenticate(&self, tried: &[Credentials]) -> Result<(User, ShownKey), ActionError> {
        let mut refusal = "you are not signed in; run `gigalixir login`";
        for Credentials { email, secret } in tried {
            refusal = "e-mail or API key is wrong; run `gigalixir login` again";
            let Ok(email) = Email::parse(email) else { continue };
            let hash = digest(secret);
            match self.store.user_by_key(hash).await? {
                Some((user, _)) if user.email != email => {}
                Some((user, expires_at)) if expires_at > self.clock.now() => {
                    self.limits.requests_per_account.take(&user.id)?;
                    return Ok((user, ShownKey { hash, expires_at }));
                }
                Some(_) => {
                    refusal = "the API key has expired; run `gigalixir login` again";
                    break;
                }
                None => {}
            }
        }
        Err(ActionError::Unauthorized(Invalid::new("", refusal)))
    }

    /// Who presents one of these e-mail addresses with its password, and the second factor where one is active. `from`
    /// is a network address as [`network`] cuts it.
    pub async fn sign_in(
        &self,
        tried: &[Credentials],
        second: Option<&str>,
        from: IpAddr,
    ) -> Result<User, ActionError> {
        self.limits.logins_per_address.take(&from)?;
        for Credentials { email, secret } in tried {
            let email = Email::parse(email).ok();
            if let Some(email) = &email {
                self.limits.logins_per_account.take(email)?;
            }
            let found = match &email {
                Some(email) => self.store.user_by_email(email).await?,
                None => None,
            };
            let hash = found.as_ref().map(|(_, hash)| hash.as_str());
            if self.passwords.verify(secret, hash).await?
                && let Some((user, _)) = found
            {
                self.limits.logins_per_address.give_back(&from);
                self.limits.logins_per_account.give_back(&user.email);
                self.second_factor(&user, second).await?;
                return Ok(user);
            }
        }
        tracing::info!(client.network = %from, "a sign-in was refused");
        Err(ActionError::Unauthorized(Invalid::new("email", "or password is incorrect.")))
    }

    /// Makes a further key for a person who signed in.
    pub async fn mint_key(&self, user: UserId) -> Result<MintedKey, ActionError> {
        let (key, row) = self.new_key();
        self.store.add_key(user, row, KEYS_KEPT).await?;
        Ok(key)
    }

    /// Makes a key that is the person's only one: all older ones end.
    pub async fn regenerate_key(&self, user: &User, password: &str) -> Result<MintedKey, ActionError> {
        self.check_password(user, password).await?;
        self.replace_key(user).await
    }

    /// The same for a person who has just signed in by the password.
    pub async fn replace_key(&self, user: &User) -> Result<MintedKey, ActionError> {
        let (key, row) = self.new_key();
        self.store.replace_keys(user.id, row).await?;
        tracing::info!(account.email = %user.email, "API keys were reset");
        Ok(key)
    }

    /// Sets another password. Keys stay.
    pub async fn change_password(&self, user: &User, current: &str, new: &str) -> Result<(), ActionError> {
        Passwords::check_new(new)?;
        let before = self.check_password(user, current).await?;
        let after = self.passwords.hash(new).await?;
        if !self.store.change_password(user.id, before, after).await? {
            return Err(ActionError::Conflict(Invalid::new("password", "was changed at the same time")));
        }
        self.tell_of_change(&user.email);
        Ok(())
    }

    /// Ends the account for good. Its apps have to be destroyed before: that is never done by the way.
    pub async fn destroy(&self, user: &User, email: &str, password: &str) -> Result<(), ActionError> {
        if Email::parse(email)? != user.email {
            return Err(ActionError::invalid("email", "is not the one of this account"));
        }
        self.check_password(user, password).await?;
        if !self.store.destroy_user(user.id).await? {
            return Err(ActionError::invalid(
                "",
                "the account has apps: destroy them first, `gigalixir apps` lists them",
            ));
        }
        tracing::info!(account.email = %user.email, "an account was destroyed");
        Ok(())
    }

    /// Mails a token that sets a new password, if the address has an account. Answers before it is known whether.
    pub fn request_reset(&self, email: &str, from: IpAddr) -> Result<(), ActionError> {
        self.limits.codes_per_address.take(&from)?;
        let email = Email::parse(email)?;
        if self.limits.mails_per_recipient.take(&email).is_ok() {
            let this = self.clone();
            tokio::spawn(async move {
                if let Err(error) = this.mail_reset(&email).await {
                    tracing::error!(cause = %error, "a password reset was not mailed");
                }
            });
        }
        Ok(())
    }

    /// Uses a mailed token up.
    pub async fn reset_password(&self, token: &str, new: &str, from: IpAddr) -> Result<(), ActionError> {
        self.limits.codes_per_address.take(&from)?;
        Passwords::check_new(new)?;
        let refusal = || ActionError::invalid("token", "is wrong or has expired; ask for another");
        let token = digest(token.trim());
        let user = self.store.reset_user(token, self.clock.now()).await?.ok_or_else(refusal)?;
        let hash = self.passwords.hash(new).await?;
        if !self.store.use_reset(token, hash, self.clock.now()).await? {
            return Err(refusal());
        }
        if let Some(user) = self.store.user(user).await? {
            self.tell_of_change(&user.email);
        }
        Ok(())
    }

    async fn mail_reset(&self, email: &Email) -> Result<(), ActionError> {
        let Some((user, _)) = self.store.user_by_email(email).await? else { return Ok(()) };
        let token = hex::encode(rand::random::<[u8; 32]>());
        let now = self.clock.now();
        self.store.add_reset(user.id, digest(&token), now + RESET_LIFE, now).await?;
        self.mailer.post(email, letters::password_reset(&self.rules.domain, &token, RESET_LIFE.as_mins()));
        Ok(())
    }

    fn tell_of_change(&self, email: &Email) {
        tracing::info!(account.email = %email, "a password was changed");
        self.mailer.post(email, letters::password_changed(&self.rules.domain));
    }

    /// The hash, when the password is right.
    pub(super) async fn check_password(&self, user: &User, password: &str) -> Result<String, ActionError> {
        self.limits.logins_per_account.take(&user.email)?;
        let found = self.store.user_by_email(&user.email).await?.map(|(_, hash)| hash);
        if !self.passwords.verify(password, found.as_deref()).await? {
            return Err(ActionError::invalid("current_password", "is incorrect"));
        }
        self.limits.logins_per_account.give_back(&user.email);
        found.ok_or_else(|| ActionError::NotFound("account not found".into()))
    }

    /// A key: a random UUID, 122 bits, in the form old clients know.
    pub(super) fn new_key(&self) -> (MintedKey, NewKey) {
        let (text, expires_at) = (Uuid::new_v4().to_string(), self.clock.now() + KEY_LIFE);
        let row = NewKey { hash: digest(&text), expires_at };
        (MintedKey { text, expires_at }, row)
    }
}

/// What is kept of a key, code or token. Looking one up by it is constant-time in the secret: who could steer the
/// comparison of digests would have found a preimage.
pub(super) fn digest(secret: &str) -> Digest {
    Sha256::digest(secret.as_bytes()).into()
}

/// The part of an address that one asker controls: an IPv4 address, or the /64 an IPv6 address is in.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asker_is_a_network() {
        let cut = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(cut("192.0.2.7"), "192.0.2.7");
        assert_eq!(cut("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(cut("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
