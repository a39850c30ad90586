//! `/api/signup`, `/api/login`, `/api/users…`, `/api/api_keys…`.

use super::answer::{Answer, ok};
use super::auth::SignedIn;
use crate::api::account::Account;

pub(super) async fn show(SignedIn { user, key_expires_at }: SignedIn) -> Answer {
    ok(Account {
        email: user.email.to_string(),
        tier: "FREE".into(),
        credit_cents: 0,
        api_key_expires_at: Some(key_expires_at.to_string()),
    })
}
