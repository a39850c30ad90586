//! `domains…`: an app's own host names.

use clap::Args;
use reqwest::Method;

use super::target::{AppOption, Target};
use crate::api::app::App;
use crate::api::domain::{AddDomain, Added, Dns, Domain};
use crate::client::Client;
use crate::client::error::Error;
use crate::client::output::table;

/// Arguments of `domains`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir domains
  gigalixir domains my-app --json")]
pub struct List {
    #[command(flatten)]
    target: Target,
}

/// Arguments of `domains:remove`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir domains:remove -a my-app www.example.com
  gigalixir delete_domain my-app www.example.com")]
pub struct Named {
    #[command(flatten)]
    app: AppOption,
    /// The domain; of two words the first is the app
    #[arg(value_name = "DOMAIN", required = true, num_args = 1..=2)]
    words: Vec<String>,
}

/// Arguments of `domains:add`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir domains:add www.example.com
  gigalixir domains:add intranet.example.com --no-check
  gigalixir domains:add '*.example.com'
  gigalixir add_domain my-app www.example.com")]
pub struct Add {
    #[command(flatten)]
    named: Named,
    /// Do not look where the domain leads
    #[arg(long)]
    no_check: bool,
}

impl Named {
    fn resolve(&self, client: &Client) -> Result<(String, Domain), Error> {
        let (app, fqdn) = super::last_word(&self.words)?;
        Ok((self.app.resolve(client, app)?, Domain { fqdn: fqdn.to_owned() }))
    }
}

/// Lists the app's domains, and where their DNS records must point.
pub async fn list(client: &Client, args: List) -> Result<(), Error> {
    let name = args.target.resolve(client)?;
    let api = client.api()?;
    let answer = api.get(&["api", "apps", &name, "domains"]).await?;
    let app: App = api.get(&["api", "apps", &name]).await?.read(&api)?;
    client.output.result(&answer.data, || {
        let domains: Vec<String> = answer.read(&api)?;
        if domains.is_empty() {
            client.output.hint(format!("{name} has no domains of its own: `gigalixir domains:add www.example.com`"));
            return Ok(String::new());
        }
        let url = url::Url::parse(&app.url).ok();
        let target = url.as_ref().and_then(url::Url::host_str).unwrap_or_default();
        Ok(table(["DOMAIN", "DNS RECORD"], domains.into_iter().map(|domain| [domain, format!("CNAME {target}")])))
    })
}

/// Leads a domain to the app, and says which DNS record leads it to the platform.
pub async fn add(client: &Client, args: Add) -> Result<(), Error> {
    let (name, Domain { fqdn }) = args.named.resolve(client)?;
    let domain = AddDomain { fqdn, check: !args.no_check };
    let api = client.api()?;
    let answer = api.send(Method::POST, &["api", "apps", &name, "domains"], &domain).await?;
    let Added { fqdn, cname, dns } = answer.read(&api)?;
    if dns.as_ref().is_some_and(|dns| dns.leads == "here") {
        client.output.status(format!("Added {fqdn} to {name}. Its DNS record leads here already:"));
        return client.output.result(&answer.data, || Ok(format!("{fqdn}. CNAME {cname}.")));
    }
    client.output.status(format!("Added {fqdn} to {name}. Now set this record where {fqdn}'s DNS is kept:"));
    client.output.result(&answer.data, || Ok(format!("{fqdn}. CNAME {cname}.")))?;
    match dns {
        Some(Dns { leads, .. }) if leads == "nowhere" => client.output.hint(format!("{fqdn} has no address yet")),
        Some(Dns { leads, addresses }) if leads == "elsewhere" => {
            let text = format!("{fqdn} leads to {}, which is not this platform", addresses.join(", "));
            client.output.hint(text);
        }
        _ => {}
    }
    client.output.hint("a domain without a label in front (example.com) cannot be a CNAME: use ALIAS or ANAME there");
    Ok(())
}

/// Leads a domain to the app no longer.
pub async fn remove(client: &Client, args: Named) -> Result<(), Error> {
    let (name, domain) = args.resolve(client)?;
    let answer = client.api()?.send(Method::DELETE, &["api", "apps", &name, "domains"], &domain).await?;
    client.output.status(format!("Removed {} from {name}.", domain.fqdn));
    client.output.result(&answer.data, || Ok(String::new()))
}
