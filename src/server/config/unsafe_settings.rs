//! What an operator should be told loudly at every start.

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use url::{Host, Url};

use super::{ServerConfig, Signups, SlugStore, SmtpTls};
use crate::server::domain::Hostname;

impl ServerConfig {
    /// One sentence for each unsafe setting: what it is, what it allows, what to do.
    pub fn warnings(&self) -> Vec<String> {
        [self.exposure(), self.openness(), self.mailing(), self.readable_secrets()].concat()
    }

    fn exposure(&self) -> Vec<String> {
        let mut found = Vec::new();
        let behind_tls = self.api_url.as_ref().is_some_and(|url| url.scheme() == "https");
        if !self.api.ip().is_loopback() && !behind_tls {
            found.push(format!(
                "the API listens on {} without TLS, so passwords and API keys travel readably: let it listen on \
                 127.0.0.1 behind a TLS proxy and set `api_url` to the https:// address",
                self.api
            ));
        }
        let everybody = |net: &&ipnet::IpNet| net.prefix_len() == 0;
        if let Some(net) = self.trusted_proxies.iter().find(everybody) {
            found.push(format!(
                "`trusted_proxies` contains {net}, so anybody can pretend to be any address and escape the rate \
                 limits: name only your proxies"
            ));
        }
        if self.slugs.store == SlugStore::S3
            && let Some(endpoint) = &self.slugs.s3.endpoint
            && is_plain_and_far(endpoint)
        {
            found
                .push(format!("slugs travel to {endpoint} without TLS, so others can read and change them: use https"));
        }
        found
    }

    fn openness(&self) -> Vec<String> {
        match self.signups {
            Signups::Open => vec![
                "`signups` is \"open\", so anybody with an e-mail address can run programs on this machine: set it to \
                 \"closed\" when everybody has an account"
                    .into(),
            ],
            Signups::First if !self.api.ip().is_loopback() => vec![format!(
                "`signups` is \"first\" and the API listens on {}, so until you have signed up whoever reaches it may \
                 become the operator: sign up now",
                self.api
            )],
            _ => Vec::new(),
        }
    }

    fn mailing(&self) -> Vec<String> {
        let mut found = Vec::new();
        match &self.smtp.host {
            None if self.domain != Hostname::localhost() => found.push(format!(
                "no `smtp.host` is set though the domain is {}, so mails (confirmation codes, password resets) only \
                 become files in `outbox` below the data directory: set up [smtp]",
                self.domain
            )),
            Some(host) if self.smtp.tls == SmtpTls::None && !is_local(host) => found.push(format!(
                "`smtp.tls` is \"none\", so mails with codes{} travel readably to {host}: use \"starttls\" or \"tls\"",
                if self.smtp.username.is_some() { " and the SMTP password" } else { "" }
            )),
            _ => {}
        }
        found
    }

    fn readable_secrets(&self) -> Vec<String> {
        let inline = self.smtp.password.is_some() && self.smtp.password_file.is_none()
            || self.slugs.s3.secret_key.is_some() && self.slugs.s3.secret_key_file.is_none();
        let config = self.file.as_deref().filter(|_| inline);
        let files = [config, self.smtp.password_file.as_deref(), self.slugs.s3.secret_key_file.as_deref()];
        files.into_iter().flatten().filter_map(readable_by_others).collect()
    }
}

fn readable_by_others(path: &Path) -> Option<String> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    (mode & 0o004 != 0).then(|| {
        format!("`{}` holds a secret and every user of this machine can read it: `chmod o= {0}`", path.display())
    })
}

fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn is_plain_and_far(url: &Url) -> bool {
    let near = match url.host() {
        Some(Host::Domain(name)) => is_local(name),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    url.scheme() == "http" && !near
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warned(text: &str) -> String {
        toml::from_str::<ServerConfig>(text).unwrap().warnings().join("\n")
    }

    #[test]
    fn the_defaults_are_safe() {
        assert_eq!(warned(""), "");
    }

    #[test]
    fn each_unsafe_setting_is_told() {
        for (text, word) in [
            ("api = \"0.0.0.0:4000\"", "without TLS"),
            ("api = \"0.0.0.0:4000\"\napi_url = \"https://x.org\"", "become the operator"),
            ("signups = \"open\"", "`signups` is \"open\""),
            ("domain = \"x.org\"", "smtp.host"),
            ("trusted_proxies = [\"0.0.0.0/0\"]", "trusted_proxies"),
            ("[smtp]\nhost = \"mail.x.org\"\ntls = \"none\"\nusername = \"u\"", "SMTP password"),
            ("[slugs]\nstore = \"s3\"\n[slugs.s3]\nendpoint = \"http://s3.x.org\"", "without TLS"),
        ] {
            assert!(warned(text).contains(word), "{text}: {}", warned(text));
        }
        let behind = warned("api = \"0.0.0.0:4000\"\napi_url = \"https://x.org\"\nsignups = \"closed\"");
        assert_eq!(behind, "", "a TLS proxy in front is fine");
    }

    #[test]
    fn a_secret_that_all_can_read_is_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut config = ServerConfig::default();
        config.smtp.password_file = Some(file.path().into());
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(config.warnings().is_empty());
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(config.warnings().concat().contains("chmod"));
    }
}
