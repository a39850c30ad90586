//! Second factors: TOTP (RFC 6238: SHA-1, six digits, thirty seconds, as every authenticator app has it) and recovery
//! codes for a lost phone.
//!
//! Whoever signs in by password shows it, at every door. API keys do not need it: they were made by somebody who had.
//! A time step is good once, and one step early or late, since clocks differ.

use jiff::Timestamp;
use totp_rs::{Builder, Totp};

use super::ActionError;
use super::account::{Accounts, Credentials, digest};
use crate::server::domain::{Invalid, User, UserId};
use crate::server::mail::letters;
use crate::server::store::Digest;

/// Codes at a time; each is good once.
const RECOVERY_CODES: usize = 10;

impl Accounts {
    /// Makes a secret that counts once [`Accounts::activate_mfa`] has seen a token of it. Returns its `otpauth:` URL.
    pub async fn begin_mfa(&self, user: &User) -> Result<String, ActionError> {
        let secret: [u8; 20] = rand::random();
        let url = self.totp(user, &secret)?.to_url().map_err(ActionError::internal)?;
        match self.store.begin_mfa(user.id, self.sealer.seal(&context(user.id), &secret)).await? {
            true => Ok(url),
            false => Err(ActionError::Conflict(Invalid::new("", "multi-factor authentication is active already"))),
        }
    }

    /// From now on a sign-in needs a token. All API keys end but those of `asker`. Returns the recovery codes.
    pub async fn activate_mfa(
        &self,
        user: &User,
        token: &str,
        asker: &[Credentials],
    ) -> Result<Vec<String>, ActionError> {
        self.limits.second_factors.take(&user.id)?;
        let begun = self.store.mfa(user.id).await?.filter(|mfa| !mfa.active);
        let not_begun = || ActionError::Conflict(Invalid::new("", "multi-factor authentication was not begun"));
        let begun = begun.ok_or_else(not_begun)?;
        let step =
            self.step(user, &begun.secret, token)?.ok_or_else(|| ActionError::invalid("mfa_token", "is wrong"))?;
        let (codes, hashes) = new_codes(user.id);
        let keep = asker.iter().map(|credentials| digest(&credentials.secret)).collect();
        if !self.store.activate_mfa(user.id, begun.secret, step, hashes, keep).await? {
            return Err(not_begun());
        }
        self.limits.second_factors.give_back(&user.id);
        self.tell_of_mfa(user, true);
        Ok(codes)
    }

    /// From now on a password is enough.
    pub async fn deactivate_mfa(&self, user: &User) -> Result<(), ActionError> {
        if !self.store.remove_mfa(user.id).await? {
            return Err(inactive());
        }
        self.tell_of_mfa(user, false);
        Ok(())
    }

    /// Replaces all recovery codes.
    pub async fn renew_recovery_codes(&self, user: &User) -> Result<Vec<String>, ActionError> {
        let (codes, hashes) = new_codes(user.id);
        match self.store.replace_recovery_codes(user.id, hashes).await? {
            true => Ok(codes),
            false => Err(inactive()),
        }
    }

    /// The second half of a sign-in, for somebody whose password was right.
    pub(super) async fn second_factor(&self, user: &User, token: Option<&str>) -> Result<(), ActionError> {
        let Some(mfa) = self.store.mfa(user.id).await?.filter(|mfa| mfa.active) else { return Ok(()) };
        let Some(token) = token.map(str::trim).filter(|token| !token.is_empty()) else {
            return Err(ActionError::SecondFactorNeeded);
        };
        self.limits.second_factors.take(&user.id)?;
        let good = match self.step(user, &mfa.secret, token)? {
            Some(step) => self.store.use_mfa_step(user.id, step).await?,
            None => self.store.use_recovery_code(user.id, code_digest(user.id, token)).await?,
        };
        if !good {
            tracing::info!(account.email = %user.email, "a second factor was refused");
            return Err(ActionError::Unauthorized(Invalid::new("mfa_token", "is wrong or was used before")));
        }
        self.limits.second_factors.give_back(&user.id);
        Ok(())
    }

    /// The time step a token is of, if it is near now.
    fn step(&self, user: &User, sealed: &[u8], token: &str) -> Result<Option<u64>, ActionError> {
        let secret = self.sealer.unseal(&context(user.id), sealed).map_err(ActionError::internal)?;
        let token: String = token.chars().filter(|c| !c.is_whitespace()).collect();
        Ok(self.totp(user, &secret)?.check(&token, seconds(self.clock.now())))
    }

    fn totp(&self, user: &User, secret: &[u8]) -> Result<Totp, ActionError> {
        Builder::new()
            .with_secret(secret)
            .with_account_name(user.email.as_str())
            .with_issuer(Some(format!("Gigalixir {}", self.rules.domain)))
            .build()
            .map_err(ActionError::internal)
    }

    fn tell_of_mfa(&self, user: &User, active: bool) {
        tracing::info!(account.email = %user.email, active, "multi-factor authentication was switched");
        self.mailer.post(&user.email, letters::mfa_switched(&self.rules.domain, active));
    }
}

fn inactive() -> ActionError {
    ActionError::Conflict(Invalid::new("", "multi-factor authentication is not active"))
}

fn context(user: UserId) -> String {
    format!("user:{}/mfa", user.0)
}

fn seconds(now: Timestamp) -> u64 {
    u64::try_from(now.as_second()).unwrap_or_default()
}

/// 80 random bits each, `xxxxx-xxxxx-xxxxx-xxxxx`.
fn new_codes(user: UserId) -> (Vec<String>, Vec<Digest>) {
    let code = || {
        let text = hex::encode(rand::random::<[u8; 10]>());
        [&text[..5], &text[5..10], &text[10..15], &text[15..]].join("-")
    };
    let codes: Vec<String> = std::iter::repeat_with(code).take(RECOVERY_CODES).collect();
    let hashes = codes.iter().map(|code| code_digest(user, code)).collect();
    (codes, hashes)
}

/// Of the code as people type it: case, blanks and hyphens do not matter.
fn code_digest(user: UserId, code: &str) -> Digest {
    let code: String = code.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    digest(&format!("recovery {} {code}", user.0))
}
