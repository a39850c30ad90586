//! Signing up: e-mail → mailed code → password → (where use has a price) a payment token → a user. Each step is a row's change, so a restart in between loses
//! nothing, and the rule who may sign up is asked at the first step for a quick answer and at the last for a true one.

use std::net::IpAddr;

use jiff::SignedDuration;
use uuid::Uuid;

use super::ActionError;
use super::account::{Accounts, MintedKey, digest};
use super::passwords::Passwords;
use crate::server::config::Signups;
use crate::server::domain::{Email, Invalid, Tier, User};
use crate::server::mail::{MailError, letters};
use crate::server::store::{CodeCheck, Digest, Finish, NewSignup, SignupsRule};

const CODE_LIFE: SignedDuration = SignedDuration::from_mins(20);
/// A signup not finished by then begins anew.
const SIGNUP_LIFE: SignedDuration = SignedDuration::from_hours(24);
/// No letter that looks like a digit.
const CODE_LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const CODE_LENGTH: usize = 8;

impl Accounts {
    /// First step: mails a code and names the signup. An address that has an account gets another mail and the same
    /// answer.
    pub async fn begin_signup(&self, email: &str, from: IpAddr) -> Result<String, ActionError> {
        self.limits.codes_per_address.take(&from)?;
        let email = Email::parse(email)?;
        self.signups_open().await?;
        let letter = letters::confirmation;
        self.mail_code(&email, AtOnce::default(), |code, _| letter(&self.rules.domain, code, CODE_LIFE.as_mins())).await
    }

    /// The signup of 2017: address and password in one request, and a mail with a link that confirms it.
    pub async fn sign_up_at_once(
        &self,
        email: &str,
        password: &str,
        token: Option<&str>,
        from: IpAddr,
    ) -> Result<(), ActionError> {
        self.limits.codes_per_address.take(&from)?;
        let email = Email::parse(email)?;
        Passwords::check_new(password)?;
        self.signups_open().await?;
        let token = token.filter(|token| self.rules.billing && !token.is_empty());
        let at_once = AtOnce { password_hash: Some(self.passwords.hash(password).await?), token };
        let letter = |code: &str, uuid: &str| {
            letters::confirmation_link(&self.rules.domain, &self.link(uuid, code), CODE_LIFE.as_mins())
        };
        self.mail_code(&email, at_once, letter).await.map(drop)
    }

    /// The end of such a signup: the link was followed. There is a new user.
    pub async fn confirm_at_once(&self, uuid: &str, code: &str, from: IpAddr) -> Result<User, ActionError> {
        self.confirm_signup(uuid, code, from).await?;
        let paying = self.store.signup(uuid.to_owned()).await?.is_some_and(|signup| signup.payment.is_some());
        let tier = if paying { Tier::Standard } else { Tier::Free };
        // Its first key is nobody's: they log in for one.
        Ok(self.finish_signup(uuid, tier.as_str(), from).await?.0)
    }

    fn link(&self, uuid: &str, code: &str) -> String {
        format!("{}/api/users/confirm/{uuid}/{code}", self.rules.api_url)
    }

    /// Begins a signup and mails its code; says how it is named.
    async fn mail_code(
        &self,
        email: &Email,
        at_once: AtOnce<'_>,
        letter: impl FnOnce(&str, &str) -> letters::Letter,
    ) -> Result<String, ActionError> {
        self.limits.mails_per_recipient.take(email)?;
        let registered = self.store.user_by_email(email).await?.is_some();
        let (uuid, code, now) = (Uuid::new_v4().to_string(), new_code(), self.clock.now());
        let signup = NewSignup {
            uuid: uuid.clone(),
            email: email.clone(),
            code: (!registered).then(|| code_digest(&uuid, &code)),
            code_expires_at: now + CODE_LIFE,
            password_hash: at_once.password_hash,
            payment: at_once.token.map(|token| self.sealed_for_signup(&uuid, token)).transpose()?,
        };
        self.store.begin_signup(signup, now, now - SIGNUP_LIFE).await?;
        let letter = match registered {
            true => letters::already_registered(&self.rules.domain),
            false => letter(&code, &uuid),
        };
        self.mailer.deliver(email, letter).await.map_err(not_mailed)?;
        Ok(uuid)
    }

    /// Second step.
    pub async fn confirm_signup(&self, uuid: &str, code: &str, from: IpAddr) -> Result<(), ActionError> {
        self.limits.codes_per_address.take(&from)?;
        let attempts = self.rules.rates.codes_per_signup;
        let code = code_digest(uuid, code);
        match self.store.check_code(uuid.to_owned(), code, attempts, self.clock.now()).await? {
            CodeCheck::Right => Ok(()),
            CodeCheck::Wrong => Err(ActionError::invalid("confirmation_code", "is wrong")),
            CodeCheck::Expired => Err(ActionError::invalid(
                "confirmation_code",
                "has expired; `gigalixir account:confirmation:resend` sends another",
            )),
            CodeCheck::Exhausted => {
                Err(ActionError::Exhausted("too many attempts; sign up again from the start".into()))
            }
            CodeCheck::Unknown => Err(unknown()),
        }
    }

    /// Third step.
    pub async fn choose_password(&self, uuid: &str, password: &str, from: IpAddr) -> Result<(), ActionError> {
        self.limits.codes_per_address.take(&from)?;
        let signup = self.store.signup(uuid.to_owned()).await?.ok_or_else(unknown)?;
        if !signup.confirmed {
            return Err(ActionError::invalid("confirmation_code", "must be given first"));
        }
        Passwords::check_new(password)?;
        let hash = self.passwords.hash(password).await?;
        match self.store.set_signup_password(uuid.to_owned(), hash).await? {
            true => Ok(()),
            false => Err(unknown()),
        }
    }

    /// Between the third step and the last, for the tier STANDARD where use has a price.
    pub async fn choose_payment(&self, uuid: &str, token: &str, from: IpAddr) -> Result<(), ActionError> {
        self.limits.codes_per_address.take(&from)?;
        if !self.rules.billing {
            let text = "is not taken: this platform sells nothing, choose the free tier";
            return Err(ActionError::invalid("stripe_token", text));
        }
        let sealed = self.sealed_for_signup(uuid, token)?;
        match self.store.set_signup_payment(uuid.to_owned(), sealed).await? {
            true => Ok(()),
            false => Err(unknown()),
        }
    }

    /// Last step: there is a new user, with a first key.
    pub async fn finish_signup(&self, uuid: &str, tier: &str, from: IpAddr) -> Result<(User, MintedKey), ActionError> {
        self.limits.codes_per_address.take(&from)?;
        let tier = Tier::parse(tier)?;
        if tier == Tier::Standard && !self.rules.billing {
            return Err(ActionError::invalid("tier", "must be FREE: this platform is self-hosted and sells nothing"));
        }
        let sealed = self.store.signup(uuid.to_owned()).await?.and_then(|signup| signup.payment);
        let plan = self.plan(uuid, tier, sealed)?;
        let rule = match self.rules.signups {
            Signups::First => SignupsRule::First,
            Signups::Open => SignupsRule::Open,
            Signups::Closed => return Err(closed()),
        };
        let (key, row) = self.new_key();
        match self.store.finish_signup(uuid.to_owned(), rule, (plan, row), self.clock.now()).await? {
            Finish::Done(user) => {
                tracing::info!(account.email = %user.email, "a person signed up");
                Ok((user, key))
            }
            Finish::Closed => Err(occupied()),
            Finish::Taken => Err(ActionError::invalid("email", "has already been taken")),
            Finish::NotReady => Err(ActionError::invalid("uuid", "names no signup that is ready to be finished")),
        }
    }

    /// Mails a signup that waits for its code another one, if there is such a signup. Answers before it is known
    /// whether.
    pub fn resend_confirmation(&self, email: &str, from: IpAddr) -> Result<(), ActionError> {
        self.limits.codes_per_address.take(&from)?;
        let email = Email::parse(email)?;
        if self.limits.mails_per_recipient.take(&email).is_ok() {
            let this = self.clone();
            tokio::spawn(async move {
                if let Err(error) = this.mail_another_code(&email).await {
                    tracing::error!(cause = %error, "a confirmation code was not mailed");
                }
            });
        }
        Ok(())
    }

    async fn mail_another_code(&self, email: &Email) -> Result<(), ActionError> {
        let Some(uuid) = self.store.waiting_signup(email).await? else { return Ok(()) };
        let (code, expires) = (new_code(), self.clock.now() + CODE_LIFE);
        let digest = code_digest(&uuid, &code);
        let at_once = self.store.signup(uuid.clone()).await?.is_some_and(|signup| signup.has_password);
        let letter = match at_once {
            true => letters::confirmation_link(&self.rules.domain, &self.link(&uuid, &code), CODE_LIFE.as_mins()),
            false => letters::confirmation(&self.rules.domain, &code, CODE_LIFE.as_mins()),
        };
        self.store.renew_code(uuid, digest, expires).await?;
        self.mailer.post(email, letter);
        Ok(())
    }

    async fn signups_open(&self) -> Result<(), ActionError> {
        match self.rules.signups {
            Signups::Open => Ok(()),
            Signups::Closed => Err(closed()),
            Signups::First if self.store.has_users().await? => Err(occupied()),
            Signups::First => Ok(()),
        }
    }
}

/// What a signup of 2017 gives in its one request.
#[derive(Default)]
struct AtOnce<'a> {
    password_hash: Option<String>,
    token: Option<&'a str>,
}

fn closed() -> ActionError {
    ActionError::Forbidden(Invalid::new("", "sign-ups are closed on this platform; ask its operator for an account"))
}

fn occupied() -> ActionError {
    ActionError::Forbidden(Invalid::new(
        "",
        "this platform has its one account already, so sign-ups are closed; its operator can set `signups = \"open\"`",
    ))
}

fn unknown() -> ActionError {
    ActionError::invalid("uuid", "names no signup; sign up again from the start")
}

fn not_mailed(error: MailError) -> ActionError {
    match error {
        MailError::Address(_) => ActionError::invalid("email", "has invalid format"),
        error => {
            tracing::error!(cause = %error, "a confirmation code was not mailed");
            ActionError::Unavailable("the confirmation code could not be mailed; try again in a few minutes".into())
        }
    }
}

/// 40 random bits: with a few attempts per signup, more than enough.
fn new_code() -> String {
    rand::random::<[u8; CODE_LENGTH]>().map(|byte| char::from(CODE_LETTERS[usize::from(byte % 32)])).iter().collect()
}

/// Of the code as people type it (blanks, hyphens and case do not matter), for this signup only.
fn code_digest(uuid: &str, code: &str) -> Digest {
    let code: String = code.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect();
    digest(&format!("{uuid} {code}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_forgiving_about_their_looks() {
        assert_eq!(code_digest("u", "ABCD2345"), code_digest("u", " abcd-2345\n"));
        assert_ne!(code_digest("u", "ABCD2345"), code_digest("v", "ABCD2345"));
        let code = new_code();
        assert_eq!(code.len(), CODE_LENGTH);
        assert_ne!(code, new_code());
    }
}
