//! acme-dns: a name server for challenges only. `_acme-challenge.NAME` is a CNAME to where its account may write; the
//! accounts are those of a file as lego, cert-manager and certbot's hook keep it, one for each name.
//!
//! It keeps the last two texts of an account, as many as a name and its wildcard need, and takes none out: the next two
//! take their place.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Client, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use super::{LABEL, Zone};

/// What `/register` answered.
#[derive(Deserialize)]
struct Account {
    username: String,
    password: SecretString,
    subdomain: String,
}

/// One server.
pub(super) struct AcmeDns {
    client: Client,
    update: String,
    /// By the name whose challenges go there.
    accounts: HashMap<String, Account>,
}

impl AcmeDns {
    pub(super) fn new(url: &Url, accounts: &Path) -> Result<Self, String> {
        let client = Client::builder().timeout(Duration::from_secs(30)).build().map_err(|error| error.to_string())?;
        let update = format!("{}/update", url.as_str().trim_end_matches('/'));
        let unusable = |why: String| format!("`{}`: {why}", accounts.display());
        let text = std::fs::read(accounts).map_err(|error| unusable(error.to_string()))?;
        let accounts: HashMap<String, Account> = serde_json::from_slice(&text)
            .map_err(|error| unusable(format!("{error}; it should be {{\"NAME\": what /register answered, …}}")))?;
        let accounts = accounts.into_iter().map(|(name, account)| (name.to_ascii_lowercase(), account)).collect();
        Ok(Self { client, update, accounts })
    }
}

#[async_trait]
impl Zone for AcmeDns {
    fn holds(&self, name: &str, _origin: &str) -> bool {
        self.accounts.contains_key(name)
    }

    async fn set(&self, fqdn: &str, value: &str) -> Result<(), String> {
        let account = fqdn.strip_prefix(LABEL).and_then(|name| self.accounts.get(name));
        let account = account.ok_or_else(|| format!("acme-dns has no account for {fqdn}"))?;
        let request = self.client.post(&self.update).header("X-Api-User", &account.username);
        let request = request.header("X-Api-Key", account.password.expose_secret());
        let request = request.json(&serde_json::json!({ "subdomain": account.subdomain, "txt": value }));
        let answer = request.send().await.map_err(|error| format!("acme-dns: {}", error.without_url()))?;
        match answer.status() {
            StatusCode::OK => Ok(()),
            StatusCode::UNAUTHORIZED => {
                Err(format!("acme-dns does not take the account for {fqdn} (or not from this address)"))
            }
            status => Err(format!("acme-dns refuses the text for {fqdn}: {status}")),
        }
    }

    async fn clear(&self, _fqdn: &str, _value: &str) -> Result<(), String> {
        Ok(())
    }
}
