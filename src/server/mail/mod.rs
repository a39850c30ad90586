//! Sending mail: through SMTP when the operator named a relay, otherwise each mail becomes a file in the outbox.
//!
//! At most [`UNDER_WAY`] mails are under way; more are refused, never queued without bound. [`Mailer::deliver`] waits
//! until the relay has the mail, so that the asker learns of a failure; [`Mailer::post`] does not, for mails whose
//! very sending is a secret. A stop of the server forgets what it had not yet handed over: each mail can be asked for
//! again.

pub mod letters;
mod outbox;
mod smtp;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lettre::Message;
use lettre::message::{Mailbox, header::ContentType};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::config::SmtpConfig;
use super::domain::{Email, Hostname};
use letters::Letter;
use outbox::Outbox;
use smtp::Smtp;

/// Mails that may be under way at once.
const UNDER_WAY: usize = 64;
/// Waits between the attempts of a posted mail.
const PATIENCE: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(60)];

/// Why a mail was not sent. What the relay said is for the log, not for the asker.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// `[smtp]` cannot be used.
    #[error("[smtp]: {0}")]
    Config(String),
    /// The address is none that mail can go to.
    #[error("the e-mail address cannot be written to: {0}")]
    Address(String),
    /// Too many are under way.
    #[error("too many mails are under way")]
    Busy,
    /// The relay, or the network on the way.
    #[error("the mail server did not take the mail: {0}")]
    Relay(String),
    /// The outbox.
    #[error("the mail could not be written to `outbox`: {0}")]
    Outbox(#[from] std::io::Error),
}

/// Sends mail; cheap to clone.
#[derive(Clone)]
pub struct Mailer {
    way: Way,
    from: Mailbox,
    room: Arc<Semaphore>,
}

#[derive(Clone)]
enum Way {
    Smtp(Smtp),
    Outbox(Outbox),
}

impl Mailer {
    /// Through `config`'s relay, or into the folder `outbox`.
    pub fn new(config: &SmtpConfig, domain: &Hostname, outbox: PathBuf) -> Result<Self, MailError> {
        let from = config.from.clone().unwrap_or_else(|| format!("Gigalixir <gigalixir@{domain}>"));
        let from = from.parse().map_err(|_| MailError::Config(format!("`from` is no address: {from}")))?;
        let way = match &config.host {
            Some(host) => Way::Smtp(Smtp::new(host, config)?),
            None => Way::Outbox(Outbox::open(outbox)?),
        };
        Ok(Self { way, from, room: Arc::new(Semaphore::new(UNDER_WAY)) })
    }

    /// Sends a letter and says whether it is on its way.
    pub async fn deliver(&self, to: &Email, letter: Letter) -> Result<(), MailError> {
        let _room = self.room()?;
        self.send(self.message(to, letter)?).await
    }

    /// Sends a letter later, trying a few times; a failure is only logged.
    pub fn post(&self, to: &Email, letter: Letter) {
        let ready = self.room().and_then(|room| Ok((room, self.message(to, letter)?)));
        match ready {
            Ok((room, message)) => {
                let mailer = self.clone();
                tokio::spawn(async move { mailer.insist(message, room).await });
            }
            Err(error) => tracing::error!(cause = %error, "a mail was not sent"),
        }
    }

    async fn insist(&self, message: Message, _room: OwnedSemaphorePermit) {
        for wait in PATIENCE.into_iter().map(Some).chain([None]) {
            match (self.send(message.clone()).await, wait) {
                (Ok(()), _) => return,
                (Err(error), Some(wait)) => {
                    tracing::warn!(cause = %error, "a mail was not sent; it is tried again");
                    tokio::time::sleep(wait).await;
                }
                (Err(error), None) => tracing::error!(cause = %error, "a mail was not sent; it is given up"),
            }
        }
    }

    fn room(&self) -> Result<OwnedSemaphorePermit, MailError> {
        self.room.clone().try_acquire_owned().map_err(|_| MailError::Busy)
    }

    fn message(&self, to: &Email, Letter { subject, body }: Letter) -> Result<Message, MailError> {
        let to = to
            .as_str()
            .parse()
            .map_err(|error: lettre::address::AddressError| MailError::Address(error.to_string()))?;
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(subject)
            .message_id(None)
            .header(ContentType::TEXT_PLAIN)
            .body(body)
            .map_err(|error| MailError::Address(error.to_string()))
    }

    async fn send(&self, message: Message) -> Result<(), MailError> {
        match &self.way {
            Way::Smtp(smtp) => smtp.send(message).await,
            Way::Outbox(outbox) => outbox.put(&message).await,
        }
    }
}

#[cfg(test)]
mod tests;
