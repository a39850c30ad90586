//! Dynamic updates (RFC 2136) signed with TSIG (RFC 8945), over TCP: bind, knot, PowerDNS and the like.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hickory_proto::op::{Message, ResponseCode, update_message};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::rdata::tsig::TsigAlgorithm;
use hickory_proto::rr::{Name, RData, Record, TSigner};
use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Zone;
use crate::server::config::DnsConfig;

const PATIENCE: Duration = Duration::from_secs(20);
/// Seconds that a record may be kept by those who have asked.
const TTL: u32 = 10;
/// Seconds by which the clocks may differ.
const FUDGE: u16 = 300;

/// A server that takes updates.
pub(super) struct Updates {
    server: SocketAddr,
    origin: Name,
    signer: TSigner,
}

impl Updates {
    pub(super) fn new(config: &DnsConfig, origin: &str, secret: &str) -> Result<Self, String> {
        let key = BASE64_STANDARD.decode(secret.trim()).map_err(|_| "`secret` is not base64".to_owned())?;
        let algorithm = TsigAlgorithm::from_name(name(&config.key_algorithm.to_lowercase())?);
        let signer = TSigner::new(key, algorithm, name(config.key_name.as_deref().unwrap_or_default())?, FUDGE);
        let signer = signer.map_err(|_| format!("`key_algorithm` \"{}\" is not known", config.key_algorithm))?;
        Ok(Self { server: config.server.ok_or("`server` is missing")?, origin: fqdn(origin)?, signer })
    }

    async fn send(&self, mut update: Message) -> Result<(), String> {
        let now = Timestamp::now().as_second().unsigned_abs();
        let verifier = update.finalize(&self.signer, now).map_err(|error| error.to_string())?;
        let bytes = update.to_vec().map_err(|error| error.to_string())?;
        let answer = tokio::time::timeout(PATIENCE, self.ask(&bytes)).await;
        let answer = answer.map_err(|_| format!("{} does not answer", self.server))?;
        let answer = answer.map_err(|error| format!("{}: {error}", self.server))?;
        let said = Message::from_vec(&answer).map_err(|error| format!("{}: {error}", self.server))?;
        match said.metadata.response_code {
            ResponseCode::NoError => {}
            code => return Err(format!("{} refuses the update: {code}", self.server)),
        }
        let Some(mut verifier) = verifier else { return Ok(()) };
        verifier.verify(&answer).map_err(|_| format!("the answer of {} is not signed with the key", self.server))?;
        Ok(())
    }

    async fn ask(&self, message: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(self.server).await?;
        let length = u16::try_from(message.len()).map_err(std::io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes()[..], message].concat()).await?;
        let mut answer = vec![0; stream.read_u16().await?.into()];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }

    fn record(&self, text: &str, value: &str) -> Result<Record, String> {
        let owner = fqdn(text)?;
        if !self.origin.zone_of(&owner) {
            return Err(format!("{text} is not in the zone {}", self.origin));
        }
        Ok(Record::from_rdata(owner, TTL, RData::TXT(TXT::new(vec![value.to_owned()]))))
    }
}

#[async_trait]
impl Zone for Updates {
    async fn set(&self, fqdn: &str, value: &str) -> Result<(), String> {
        let record = self.record(fqdn, value)?;
        self.send(update_message::append(record.into(), self.origin.clone(), false, false)).await
    }

    async fn clear(&self, fqdn: &str, value: &str) -> Result<(), String> {
        let record = self.record(fqdn, value)?;
        self.send(update_message::delete_by_rdata(record.into(), self.origin.clone(), false)).await
    }
}

fn name(text: &str) -> Result<Name, String> {
    Name::from_str(text).map_err(|error| format!("`{text}`: {error}"))
}

fn fqdn(text: &str) -> Result<Name, String> {
    let mut name = name(text)?;
    name.set_fqdn(true);
    Ok(name)
}
