//! Signups on their way, and the moment one becomes a user.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use subtle::ConstantTimeEq;

use super::accounts::{NewKey, insert_key};
use super::payments::set_payment_method;
use super::{Digest, Store, StoreError};
use crate::server::domain::{Email, Tier, User, UserId};

/// A signup's first row.
#[derive(Debug, Clone)]
pub struct NewSignup {
    /// Names it to the client.
    pub uuid: String,
    /// Whose.
    pub email: Email,
    /// Of the mailed code; `None` when no code may be right.
    pub code: Option<Digest>,
    /// From then on the code is refused.
    pub code_expires_at: Timestamp,
    /// Its password's hash, where it was given at once.
    pub password_hash: Option<String>,
    /// A sealed payment token, where it was given at once.
    pub payment: Option<Vec<u8>>,
}

/// How far a signup has come.
#[derive(Debug, Clone)]
pub struct Signup {
    /// Whose.
    pub email: Email,
    /// The code was given.
    pub confirmed: bool,
    /// The password was given.
    pub has_password: bool,
    /// A payment token was given; sealed.
    pub payment: Option<Vec<u8>>,
}

/// What a signup chose.
pub struct Plan {
    /// The tier.
    pub tier: Tier,
    /// Seals its payment token for the account that it becomes.
    pub payment: Option<Box<dyn FnOnce(UserId) -> Vec<u8> + Send>>,
}

/// What became of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeCheck {
    /// It is the one; from now on the signup is confirmed.
    Right,
    /// It is not; one attempt is used up.
    Wrong,
    /// All attempts are used up, whatever this code was.
    Exhausted,
    /// Too late, whatever this code was.
    Expired,
    /// There is no such signup.
    Unknown,
}

/// Who may become a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignupsRule {
    /// Only the first one.
    First,
    /// Anybody.
    Open,
}

/// What became of a signup's last step.
#[derive(Debug, Clone)]
pub enum Finish {
    /// There is a new user, with the key.
    Done(User),
    /// The rule was `First` and there is a user already.
    Closed,
    /// The address got an account in the meantime.
    Taken,
    /// There is no such signup, or a step is missing.
    NotReady,
}

impl Store {
    /// Writes a signup down; those begun before `oldest` are forgotten.
    pub async fn begin_signup(&self, signup: NewSignup, now: Timestamp, oldest: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute("DELETE FROM signups WHERE begun_at < ?", [oldest.as_second()])?;
            tx.execute(
                "INSERT INTO signups (uuid, email, code_hash, code_expires_at, begun_at, password_hash, payment)
                 VALUES (?, ?, ?, ?, ?, ?, ?)",
                params![
                    signup.uuid,
                    signup.email.as_str(),
                    signup.code,
                    signup.code_expires_at.as_second(),
                    now.as_second(),
                    signup.password_hash,
                    signup.payment
                ],
            )?;
            Ok(())
        })
        .await
    }

    /// Looks a signup up.
    pub async fn signup(&self, uuid: String) -> Result<Option<Signup>, StoreError> {
        self.read(move |db| find(db, "uuid = ?", &uuid).map(|found| found.map(|(_, signup)| signup))).await
    }

    /// The newest signup of an address that still waits for its code, by its uuid.
    pub async fn waiting_signup(&self, email: &Email) -> Result<Option<String>, StoreError> {
        let email = email.clone();
        self.read(move |db| {
            let found = find(db, "email = ? AND confirmed = 0 AND code_hash IS NOT NULL", email.as_str())?;
            Ok(found.map(|(uuid, _)| uuid))
        })
        .await
    }

    /// Gives a signup another code. The attempts used up stay used up.
    pub async fn renew_code(&self, uuid: String, code: Digest, expires_at: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx| {
            let renew = "UPDATE signups SET code_hash = ?2, code_expires_at = ?3 WHERE uuid = ?1 AND confirmed = 0";
            tx.execute(renew, params![uuid, &code[..], expires_at.as_second()])?;
            Ok(())
        })
        .await
    }

    /// Tries a code, at most `attempts` times per signup.
    pub async fn check_code(
        &self,
        uuid: String,
        code: Digest,
        attempts: u32,
        now: Timestamp,
    ) -> Result<CodeCheck, StoreError> {
        self.write(move |tx| {
            let query = "SELECT code_hash, code_expires_at, attempts FROM signups WHERE uuid = ?";
            let row = tx
                .query_row(query, [&uuid], |row| {
                    Ok((row.get::<_, Option<Digest>>(0)?, row.get::<_, i64>(1)?, row.get::<_, u32>(2)?))
                })
                .optional()?;
            let Some((hash, expires, used)) = row else { return Ok(CodeCheck::Unknown) };
            if used >= attempts {
                return Ok(CodeCheck::Exhausted);
            }
            if expires <= now.as_second() {
                return Ok(CodeCheck::Expired);
            }
            let right = bool::from(hash.unwrap_or_default().ct_eq(&code)) && hash.is_some();
            let change = if right { "confirmed = 1" } else { "attempts = attempts + 1" };
            tx.execute(&format!("UPDATE signups SET {change} WHERE uuid = ?"), [&uuid])?;
            Ok(if right { CodeCheck::Right } else { CodeCheck::Wrong })
        })
        .await
    }

    /// Sets the password of a confirmed signup; whether there is one.
    pub async fn set_signup_password(&self, uuid: String, hash: String) -> Result<bool, StoreError> {
        self.write(move |tx| {
            let set = "UPDATE signups SET password_hash = ?2 WHERE uuid = ?1 AND confirmed = 1";
            Ok(tx.execute(set, params![uuid, hash])? == 1)
        })
        .await
    }

    /// Sets the sealed payment token of a confirmed signup; whether there is one.
    pub async fn set_signup_payment(&self, uuid: String, sealed: Vec<u8>) -> Result<bool, StoreError> {
        self.write(move |tx| {
            let set = "UPDATE signups SET payment = ?2 WHERE uuid = ?1 AND confirmed = 1";
            Ok(tx.execute(set, params![uuid, sealed])? == 1)
        })
        .await
    }

    /// Turns a complete signup into a user with one key, and its payment method if it chose one. All in one transaction
    /// of the only writer, so of two racing first signups one is refused.
    pub async fn finish_signup(
        &self,
        uuid: String,
        rule: SignupsRule,
        (plan, key): (Plan, NewKey),
        now: Timestamp,
    ) -> Result<Finish, StoreError> {
        self.write(move |tx| {
            let query = "SELECT email, password_hash FROM signups
                         WHERE uuid = ? AND confirmed = 1 AND password_hash IS NOT NULL";
            let row = tx.query_row(query, [&uuid], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)));
            let Some((email, hash)) = row.optional()? else { return Ok(Finish::NotReady) };
            if rule == SignupsRule::First && tx.query_row("SELECT EXISTS (SELECT 1 FROM users)", [], |r| r.get(0))? {
                return Ok(Finish::Closed);
            }
            let insert = "INSERT INTO users (email, password_hash, created_at, tier) VALUES (?, ?, ?, ?)
                          ON CONFLICT DO NOTHING";
            if tx.execute(insert, params![email, hash, now.as_second(), plan.tier.as_str()])? == 0 {
                return Ok(Finish::Taken);
            }
            let id = UserId(tx.last_insert_rowid());
            insert_key(tx, id, &key)?;
            if let Some(seal) = plan.payment {
                set_payment_method(tx, id, &seal(id))?;
            }
            tx.execute("DELETE FROM signups WHERE email = ?", [&email])?;
            let email = Email::parse(&email).map_err(|_| StoreError::Damaged("e-mail address"))?;
            Ok(Finish::Done(User { id, email, created_at: now, tier: plan.tier }))
        })
        .await
    }
}

fn find(db: &Connection, condition: &str, value: &str) -> Result<Option<(String, Signup)>, StoreError> {
    let query = format!(
        "SELECT uuid, email, confirmed, password_hash IS NOT NULL, payment FROM signups WHERE {condition}
         ORDER BY begun_at DESC, rowid DESC LIMIT 1"
    );
    let row = db
        .prepare_cached(&query)?
        .query_row([value], |row| {
            let (uuid, email): (String, String) = (row.get(0)?, row.get(1)?);
            Ok((uuid, email, row.get(2)?, row.get(3)?, row.get(4)?))
        })
        .optional()?;
    let Some((uuid, email, confirmed, has_password, payment)) = row else { return Ok(None) };
    let email = Email::parse(&email).map_err(|_| StoreError::Damaged("e-mail address"))?;
    Ok(Some((uuid, Signup { email, confirmed, has_password, payment })))
}
