//! Payment methods: a token of some payment service, kept sealed and never looked into. Nothing is charged. Only where use
//! has a price does a token come with the tier STANDARD, at signup or later.

use super::ActionError;
use super::account::Accounts;
use crate::server::domain::{Tier, User, UserId};
use crate::server::store::Plan;

/// Bytes of a token.
const LONGEST: usize = 1024;

impl Accounts {
    /// Whether there is one.
    pub async fn has_payment_method(&self, user: &User) -> Result<bool, ActionError> {
        Ok(self.store.payment_method(user.id).await?.is_some())
    }

    /// Keeps a token in place of an earlier one.
    pub async fn set_payment_method(&self, user: &User, token: &str) -> Result<(), ActionError> {
        self.keep_token(user, token, None).await
    }

    /// Keeps a token and, where use has a price, makes the tier STANDARD; tells the tier.
    pub async fn upgrade(&self, user: &User, token: &str) -> Result<Tier, ActionError> {
        let tier = if self.rules.billing { Tier::Standard } else { user.tier };
        self.keep_token(user, token, Some(tier)).await?;
        Ok(tier)
    }

    async fn keep_token(&self, user: &User, token: &str, tier: Option<Tier>) -> Result<(), ActionError> {
        check(token)?;
        let sealed = self.sealer.seal(&context(user.id), token.as_bytes());
        Ok(self.store.set_payment_method(user.id, sealed, tier).await?)
    }

    /// Seals a token for a signup.
    pub(super) fn sealed_for_signup(&self, uuid: &str, token: &str) -> Result<Vec<u8>, ActionError> {
        check(token)?;
        Ok(self.sealer.seal(&signup_context(uuid), token.as_bytes()))
    }

    /// What a signup with that token, if any, is finished as.
    pub(super) fn plan(&self, uuid: &str, tier: Tier, sealed: Option<Vec<u8>>) -> Result<Plan, ActionError> {
        let sealed = match tier {
            Tier::Free => return Ok(Plan { tier, payment: None }),
            Tier::Standard => sealed.ok_or_else(|| ActionError::invalid("stripe_token", "must be given first"))?,
        };
        let token = self.sealer.unseal(&signup_context(uuid), &sealed).map_err(ActionError::internal)?;
        let sealer = self.sealer.clone();
        let seal = move |user| sealer.seal(&context(user), &token);
        Ok(Plan { tier, payment: Some(Box::new(seal)) })
    }
}

fn check(token: &str) -> Result<(), ActionError> {
    if token.trim().is_empty() {
        return Err(ActionError::invalid("stripe_token", "can't be blank"));
    }
    if token.len() > LONGEST {
        return Err(ActionError::invalid("stripe_token", format!("should be at most {LONGEST} byte(s)")));
    }
    Ok(())
}

fn context(user: UserId) -> String {
    format!("user:{}/payment", user.0)
}

fn signup_context(uuid: &str) -> String {
    format!("signup:{uuid}/payment")
}
