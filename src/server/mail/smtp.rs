//! The relay.

use std::time::Duration;

use lettre::transport::smtp::PoolConfig;
use lettre::transport::smtp::authentication::Credentials;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use secrecy::ExposeSecret;

use super::MailError;
use crate::server::config::{SmtpConfig, SmtpTls};

/// For each exchange of the protocol.
const STEP: Duration = Duration::from_secs(10);
/// For a whole mail: an asker waits for it.
const WHOLE: Duration = Duration::from_secs(25);
const CONNECTIONS: u32 = 4;

#[derive(Clone)]
pub(super) struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
}

impl Smtp {
    pub(super) fn new(host: &str, config: &SmtpConfig) -> Result<Self, MailError> {
        type Transport = AsyncSmtpTransport<Tokio1Executor>;
        let unusable = |error: lettre::transport::smtp::Error| MailError::Config(error.to_string());
        let mut builder = match config.tls {
            SmtpTls::Starttls => Transport::starttls_relay(host).map_err(unusable)?,
            SmtpTls::Tls => Transport::relay(host).map_err(unusable)?,
            SmtpTls::None => Transport::builder_dangerous(host),
        };
        if let Some(port) = config.port {
            builder = builder.port(port);
        }
        if let (Some(user), Some(password)) = (&config.username, &config.password) {
            builder = builder.credentials(Credentials::new(user.clone(), password.expose_secret().to_owned()));
        }
        let pool = PoolConfig::new().max_size(CONNECTIONS).idle_timeout(Duration::from_secs(30));
        Ok(Self { transport: builder.timeout(Some(STEP)).pool_config(pool).build() })
    }

    pub(super) async fn send(&self, message: Message) -> Result<(), MailError> {
        match tokio::time::timeout(WHOLE, self.transport.send(message)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(MailError::Relay(told(&error))),
            Err(_) => Err(MailError::Relay(format!("no answer within {} seconds", WHOLE.as_secs()))),
        }
    }
}

fn told(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
