//! What the platform writes to people. Lines stay below 78 characters, subjects hold no secrets.

use crate::server::domain::Hostname;

/// A mail's words.
#[derive(Debug, Clone)]
pub struct Letter {
    /// One line.
    pub subject: String,
    /// Plain text.
    pub body: String,
}

/// The code that confirms an address.
pub fn confirmation(domain: &Hostname, code: &str, minutes: i64) -> Letter {
    let body = format!(
        "Somebody, probably you, signs up at the Gigalixir platform\n{domain} with this e-mail address.\n\n\
         Code: {code}\n\n\
         It is good for {minutes} minutes. If it was not you, do nothing.\n"
    );
    Letter { subject: format!("Your confirmation code for {domain}"), body }
}

/// The link that confirms an address, for those who have no place to type a code.
pub fn confirmation_link(domain: &Hostname, link: &str, minutes: i64) -> Letter {
    let body = format!(
        "Somebody, probably you, signs up at the Gigalixir platform\n{domain} with this e-mail address.\n\n\
         To confirm it, open this link and press the button:\n\n{link}\n\n\
         It is good for {minutes} minutes. If it was not you, do nothing.\n"
    );
    Letter { subject: format!("Confirm your address for {domain}"), body }
}

/// Somebody signs up with an address that has an account.
pub fn already_registered(domain: &Hostname) -> Letter {
    let body = format!(
        "Somebody, probably you, tried to sign up at the Gigalixir platform\n{domain} with this e-mail address, \
         but it has an account already.\n\n\
         Run `gigalixir login` to use it. If the password is lost:\n\n    gigalixir account:password:reset\n\n\
         If it was not you, do nothing.\n"
    );
    Letter { subject: format!("You have an account at {domain}"), body }
}

/// The token that sets a new password.
pub fn password_reset(domain: &Hostname, token: &str, minutes: i64) -> Letter {
    let body = format!(
        "Somebody, probably you, wants to set a new password for your account\nat the Gigalixir platform {domain}.\n\n\
         Token: {token}\n\n\
         It is good for {minutes} minutes: gigalixir account:password:set --token TOKEN\n\n\
         Every API key of the account ends with it, so log in again afterwards.\n\
         If it was not you, do nothing: the password stays as it is.\n"
    );
    Letter { subject: format!("Set a new password at {domain}"), body }
}

/// A password was changed or reset.
pub fn password_changed(domain: &Hostname) -> Letter {
    let body = format!(
        "The password of your account at the Gigalixir platform\n{domain} was changed just now.\n\n\
         If it was not you, set another at once:\n\n    gigalixir account:password:reset\n"
    );
    Letter { subject: format!("Your password at {domain} was changed"), body }
}

/// The token that confirms a new address.
pub fn email_change(domain: &Hostname, token: &str, hours: i64) -> Letter {
    let body = format!(
        "Somebody, probably you, wants this to be the e-mail address of an account\n\
         at the Gigalixir platform {domain}.\n\n\
         Token: {token}\n\n\
         It is good for {hours} hours: gigalixir account:email:confirm --token TOKEN\n\n\
         If it was not you, do nothing.\n"
    );
    Letter { subject: format!("Confirm your new e-mail address at {domain}"), body }
}

/// The token that stops or undoes a change of address.
pub fn email_change_revocable(domain: &Hostname, token: &str, days: i64) -> Letter {
    let body = format!(
        "Somebody, probably you, asked for another e-mail address for your account\n\
         at the Gigalixir platform {domain}. It changes once the new\naddress is confirmed.\n\n\
         Token: {token}\n\n\
         If it was not you, stop or undo the change within {days} days:\n\n\
         \x20   gigalixir account:email:revoke --token TOKEN\n\n\
         Every API key of the account ends with it. Then set another password.\n"
    );
    Letter { subject: format!("Your e-mail address at {domain} is about to change"), body }
}

/// Multi-factor authentication was activated or deactivated.
pub fn mfa_switched(domain: &Hostname, active: bool) -> Letter {
    let what = if active { "activated" } else { "deactivated" };
    let body = format!(
        "Multi-factor authentication of your account at the Gigalixir platform\n{domain} was {what} just now.\n\n\
         If it was not you, set another password at once:\n\n    gigalixir account:password:reset\n"
    );
    Letter { subject: format!("Multi-factor authentication at {domain} was {what}"), body }
}
