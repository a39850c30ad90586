//! Payment methods: a token of some payment service, kept sealed and never looked into. Nothing is charged.

use super::ActionError;
use super::account::Accounts;
use crate::server::domain::{User, UserId};

/// Bytes of a token.
const LONGEST: usize = 1024;

impl Accounts {
    /// Whether there is one.
    pub async fn has_payment_method(&self, user: &User) -> Result<bool, ActionError> {
        Ok(self.store.payment_method(user.id).await?.is_some())
    }

    /// Keeps a token in place of an earlier one.
    pub async fn set_payment_method(&self, user: &User, token: &str) -> Result<(), ActionError> {
        if token.trim().is_empty() {
            return Err(ActionError::invalid("stripe_token", "can't be blank"));
        }
        if token.len() > LONGEST {
            return Err(ActionError::invalid("stripe_token", format!("should be at most {LONGEST} byte(s)")));
        }
        let sealed = self.sealer.seal(&context(user.id), token.as_bytes());
        Ok(self.store.set_payment_method(user.id, sealed).await?)
    }
}

fn context(user: UserId) -> String {
    format!("user:{}/payment", user.0)
}
