//! Another address for an account: asked for with the password, confirmed from the new address, revocable from the old.

use std::net::IpAddr;

use jiff::SignedDuration;

use super::ActionError;
use super::account::{Accounts, digest};
use crate::server::domain::{Email, User};
use crate::server::mail::letters;
use crate::server::store::{NewEmailChange, StoreError};

const CONFIRM_LIFE: SignedDuration = SignedDuration::from_hours(24);
/// Long enough to come home from a holiday week.
const REVOKE_LIFE: SignedDuration = SignedDuration::from_hours(7 * 24);

impl Accounts {
    /// Mails a token to the new address, and another one that stops or undoes the change to the present one. An address
    /// that has an account gets another mail and the asker the same answer.
    pub async fn begin_email_change(&self, user: &User, password: &str, next: &str) -> Result<(), ActionError> {
        let next = Email::parse(next).map_err(|why| ActionError::invalid("next_email", why.message))?;
        self.check_password(user, password).await?;
        if next == user.email {
            return Err(ActionError::invalid("next_email", "is the address the account has"));
        }
        self.limits.mails_per_recipient.take(&next)?;
        if self.store.user_by_email(&next).await?.is_some() {
            self.mailer.post(&next, letters::already_registered(&self.rules.domain));
            return Ok(());
        }
        let (confirm, revoke, now) = (new_token(), new_token(), self.clock.now());
        let change = NewEmailChange {
            confirm: digest(&confirm),
            revoke: digest(&revoke),
            user: user.id,
            previous: user.email.clone(),
            next: next.clone(),
            confirm_until: now + CONFIRM_LIFE,
            revoke_until: now + REVOKE_LIFE,
        };
        self.store.begin_email_change(change, now).await?;
        let domain = &self.rules.domain;
        self.mailer.post(&next, letters::email_change(domain, &confirm, CONFIRM_LIFE.as_hours()));
        self.mailer.post(&user.email, letters::email_change_revocable(domain, &revoke, REVOKE_LIFE.as_hours() / 24));
        Ok(())
    }

    /// Uses the new address's token up.
    pub async fn confirm_email_change(&self, token: &str, from: IpAddr) -> Result<String, ActionError> {
        self.limits.codes_per_address.take(&from)?;
        match self.store.confirm_email_change(digest(token.trim()), self.clock.now()).await {
            Ok(email) => email.ok_or_else(not_good),
            Err(StoreError::Taken) => Err(ActionError::invalid("email", "has already been taken")),
            Err(error) => Err(error.into()),
        }
    }

    /// Uses the old address's token up. Returns the address that holds.
    pub async fn revoke_email_change(&self, token: &str, from: IpAddr) -> Result<String, ActionError> {
        self.limits.codes_per_address.take(&from)?;
        match self.store.revoke_email_change(digest(token.trim()), self.clock.now()).await {
            Ok(email) => email.ok_or_else(not_good),
            Err(StoreError::Taken) => Err(ActionError::invalid("email", "belongs to another account by now")),
            Err(error) => Err(error.into()),
        }
    }
}

fn new_token() -> String {
    hex::encode(rand::random::<[u8; 32]>())
}

fn not_good() -> ActionError {
    ActionError::invalid("token", "is wrong, was used, or has expired")
}
