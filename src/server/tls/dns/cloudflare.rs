//! Cloudflare's API: a token with the permission Zone / DNS / Edit is enough.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::Zone;

const API: &str = "https://api.cloudflare.com/client/v4";

/// One zone.
pub(super) struct Cloudflare {
    client: Client,
    origin: String,
    token: String,
}

impl Cloudflare {
    pub(super) fn new(origin: &str, token: &str) -> Result<Self, String> {
        let client = Client::builder().timeout(Duration::from_secs(30)).build().map_err(|error| error.to_string())?;
        Ok(Self { client, origin: origin.to_owned(), token: token.to_owned() })
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<Value>,
    ) -> Result<Value, String> {
        let mut request = self.client.request(method, format!("{API}{path}")).query(query).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.map_err(|error| format!("Cloudflare: {}", error.without_url()))?;
        let answer: Value = answer.json().await.map_err(|error| format!("Cloudflare: {}", error.without_url()))?;
        if answer["success"] == true {
            return Ok(answer["result"].clone());
        }
        let said = answer["errors"][0]["message"].as_str().unwrap_or("no reason given");
        Err(format!("Cloudflare refuses: {said}"))
    }

    async fn zone(&self) -> Result<String, String> {
        let zones = self.ask(Method::GET, "/zones", &[("name", &self.origin)], None).await?;
        let id = zones[0]["id"].as_str().map(str::to_owned);
        id.ok_or_else(|| format!("the Cloudflare token sees no zone `{}`", self.origin))
    }
}

#[async_trait]
impl Zone for Cloudflare {
    async fn set(&self, fqdn: &str, value: &str) -> Result<(), String> {
        let path = format!("/zones/{}/dns_records", self.zone().await?);
        let record = json!({ "type": "TXT", "name": fqdn, "content": value, "ttl": 60 });
        match self.ask(Method::POST, &path, &[], Some(record)).await {
            Err(why) if why.contains("already exists") => Ok(()),
            done => done.map(drop),
        }
    }

    async fn clear(&self, fqdn: &str, value: &str) -> Result<(), String> {
        let path = format!("/zones/{}/dns_records", self.zone().await?);
        let records = self.ask(Method::GET, &path, &[("type", "TXT"), ("name", fqdn)], None).await?;
        let theirs = |record: &&Value| record["content"].as_str().is_some_and(|text| text.trim_matches('"') == value);
        for record in records.as_array().into_iter().flatten().filter(theirs) {
            let id = record["id"].as_str().unwrap_or_default();
            self.ask(Method::DELETE, &format!("{path}/{id}"), &[], None).await?;
        }
        Ok(())
    }
}
