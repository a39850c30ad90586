//! `certs…`: certificates of an app's hosts.

use std::path::{Path, PathBuf};

use clap::Args;
use reqwest::Method;
use serde_json::json;

use super::target::{AppOption, Target};
use crate::api::cert::{AddCert, Cert, RenewCert};
use crate::api::domain::Domain;
use crate::client::Client;
use crate::client::error::Error;
use crate::client::output::{table, time};

/// Arguments of `certs`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir certs
  gigalixir certs my-app --json")]
pub struct List {
    #[command(flatten)]
    target: Target,
}

/// Arguments of `certs:add`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir certs:add www.example.com --cert fullchain.pem --key privkey.pem")]
pub struct Add {
    #[command(flatten)]
    app: AppOption,
    /// The host, which must be one of the app's
    #[arg(value_name = "DOMAIN")]
    domain: String,
    /// The certificate and those of its issuers, PEM
    #[arg(long, value_name = "FILE")]
    cert: PathBuf,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

/// Arguments of `certs:remove`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir certs:remove www.example.com")]
pub struct Remove {
    #[command(flatten)]
    app: AppOption,
    /// The host
    #[arg(value_name = "DOMAIN")]
    domain: String,
}

/// Arguments of `certs:renew`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir certs:renew www.example.com
  gigalixir certs:renew www.example.com --revoke   # the key may be in wrong hands")]
pub struct Renew {
    #[command(flatten)]
    app: AppOption,
    /// The host
    #[arg(value_name = "DOMAIN")]
    domain: String,
    /// Tell the CA that the present certificate must not be trusted any more
    #[arg(long)]
    revoke: bool,
}

/// Shows how each of the app's hosts stands.
pub async fn list(client: &Client, args: List) -> Result<(), Error> {
    let name = args.target.resolve(client)?;
    let api = client.api()?;
    let answer = api.get(&["api", "apps", &name, "certs"]).await?;
    client.output.result(&answer.data, || {
        let certs: Vec<Cert> = answer.read(&api)?;
        for cert in &certs {
            if let Some(error) = &cert.last_error {
                client.output.hint(format!("{}: {error}", cert.fqdn));
            }
        }
        Ok(table(["HOST", "ISSUER", "EXPIRES", "NEXT"], certs.into_iter().map(row)))
    })
}

fn row(cert: Cert) -> [String; 4] {
    let at = cert.next_at.as_deref().map(time).unwrap_or_default();
    let next = match cert.next.as_str() {
        "renew" => format!("renewed {at}"),
        "replace" => format!("replace it before {at}"),
        "sign" => "signed for the next visitor".to_owned(),
        "deploy" => "ordered with the first deploy".to_owned(),
        "off" => "TLS is off".to_owned(),
        "waiting" => format!("ordered again {at}"),
        step => format!("order {step}"),
    };
    let expires = cert.expires_at.as_deref().map(time).unwrap_or_else(|| "-".to_owned());
    [cert.fqdn, cert.issuer.unwrap_or_else(|| "-".to_owned()), expires, next]
}

/// Serves an own certificate for a host.
pub async fn add(client: &Client, args: Add) -> Result<(), Error> {
    let name = args.app.resolve(client, None)?;
    let body = AddCert { fqdn: args.domain, certificate: text(&args.cert)?, key: text(&args.key)? };
    let api = client.api()?;
    let answer = api.send(Method::POST, &["api", "apps", &name, "certs"], &body).await?;
    let cert: Cert = answer.read(&api)?;
    let until = cert.expires_at.as_deref().map(time).unwrap_or_default();
    client.output.status(format!("{} is served with this certificate. Replace it before {until}.", cert.fqdn));
    client.output.result(&answer.data, || Ok(String::new()))
}

/// Serves it no longer.
pub async fn remove(client: &Client, args: Remove) -> Result<(), Error> {
    let name = args.app.resolve(client, None)?;
    let body = Domain { fqdn: args.domain };
    let answer = client.api()?.send(Method::DELETE, &["api", "apps", &name, "certs"], &body).await?;
    client.output.status(format!("Removed the certificate of {}.", body.fqdn));
    client.output.result(&answer.data, || Ok(String::new()))
}

/// Has a new certificate made now.
pub async fn renew(client: &Client, args: Renew) -> Result<(), Error> {
    let name = args.app.resolve(client, None)?;
    let body = RenewCert { fqdn: args.domain, revoke: args.revoke };
    let answer = client.api()?.send(Method::POST, &["api", "apps", &name, "certs", "renew"], &body).await?;
    client.output.status(format!("A new certificate for {} is on its way: `gigalixir certs` shows it.", body.fqdn));
    client.output.result(&answer.data, || Ok(String::new()))
}

/// Prints the root of the platform's own CA.
pub async fn ca(client: &Client) -> Result<(), Error> {
    let mut stream = client.public_api()?.stream(&["ca.pem"], &()).await?;
    let mut pem = Vec::new();
    while let Some(bytes) = stream.next().await? {
        pem.extend_from_slice(bytes.as_ref());
    }
    let text = String::from_utf8_lossy(&pem).into_owned();
    client.output.result(&json!({ "pem": text }), || Ok(text.clone()))
}

fn text(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|error| Error::io(format_args!("could not read {}", path.display()), &error))
}
