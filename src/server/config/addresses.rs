//! How the platform's addresses are written for people and programs elsewhere.

use std::net::SocketAddr;

use url::Url;

use super::{ServerConfig, TlsMode};
use crate::server::domain::AppName;

impl ServerConfig {
    /// Where clients reach the API; no slash at the end.
    pub fn public_api(&self) -> String {
        match &self.api_url {
            Some(url) => bare(url),
            None if self.has_public_tls() => self.secure("api."),
            None => self.listening("http", self.api, 80),
        }
    }

    /// Below it are the repositories; no slash at the end.
    pub fn public_git(&self) -> String {
        match (&self.git_url, &self.api_url) {
            (Some(url), _) | (None, Some(url)) => bare(url),
            (None, None) if self.has_public_tls() => self.secure("git."),
            (None, None) => self.public_api(),
        }
    }

    /// As browsers reach the domain; an app's address has its name in front of the host.
    pub fn public_apps(&self) -> String {
        match &self.app_url {
            Some(url) => bare(url),
            None if self.has_public_tls() => self.secure(""),
            None if self.http.port() == 80 => format!("http://{}", self.domain),
            None => format!("http://{}:{}", self.domain, self.http.port()),
        }
    }

    /// Where a browser finds an app.
    pub fn app_address(&self, app: &AppName) -> String {
        let (scheme, port) = match &self.app_url {
            Some(url) => (url.scheme(), url.port()),
            None if self.has_public_tls() => ("https", Some(self.https.port()).filter(|port| *port != 443)),
            None => ("http", Some(self.http.port()).filter(|port| *port != 80)),
        };
        let domain = self.app_url.as_ref().and_then(Url::host_str).unwrap_or(self.domain.as_str());
        let port = port.map_or_else(String::new, |port| format!(":{port}"));
        format!("{scheme}://{app}.{domain}{port}")
    }

    /// Whether everybody's browser trusts what https serves.
    fn has_public_tls(&self) -> bool {
        self.tls.mode == TlsMode::Acme
    }

    fn secure(&self, label: &str) -> String {
        let port = if self.https.port() == 443 { String::new() } else { format!(":{}", self.https.port()) };
        format!("https://{label}{}{port}", self.domain)
    }

    /// An address of ours as seen from elsewhere: the wildcard address is no place to go to, the domain is.
    fn listening(&self, scheme: &str, address: SocketAddr, usual: u16) -> String {
        let host = match address {
            any if any.ip().is_unspecified() => self.domain.to_string(),
            SocketAddr::V4(v4) => v4.ip().to_string(),
            SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
        };
        let port = if address.port() == usual { String::new() } else { format!(":{}", address.port()) };
        format!("{scheme}://{host}{port}")
    }
}

fn bare(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_follow_from_where_we_listen() {
        let app = AppName::parse("my-app").unwrap();
        let mut config = ServerConfig::default();
        assert_eq!(config.public_api(), "http://127.0.0.1:4000");
        assert_eq!(config.public_git(), "http://127.0.0.1:4000");
        assert_eq!(config.app_address(&app), "http://my-app.localhost:8080");
        config.domain = crate::server::domain::Hostname::parse("example.org").unwrap();
        config.api = "0.0.0.0:80".parse().unwrap();
        config.http = "[::]:80".parse().unwrap();
        assert_eq!(config.public_api(), "http://example.org");
        assert_eq!(config.app_address(&app), "http://my-app.example.org");
        config.api = "[::1]:4000".parse().unwrap();
        assert_eq!(config.public_api(), "http://[::1]:4000");
    }

    #[test]
    fn with_certificates_of_a_ca_everything_is_https() {
        let app = AppName::parse("my-app").unwrap();
        let mut config = ServerConfig { https: "0.0.0.0:443".parse().unwrap(), ..Default::default() };
        config.domain = crate::server::domain::Hostname::parse("example.org").unwrap();
        config.tls.mode = TlsMode::Acme;
        assert_eq!(config.public_api(), "https://api.example.org");
        assert_eq!(config.public_git(), "https://git.example.org");
        assert_eq!(
            (config.public_apps(), config.app_address(&app)),
            ("https://example.org".into(), "https://my-app.example.org".into())
        );
        config.https.set_port(8443);
        assert_eq!(config.app_address(&app), "https://my-app.example.org:8443");
    }

    #[test]
    fn what_the_operator_says_goes_before() {
        let app = AppName::parse("my-app").unwrap();
        let mut config = ServerConfig { api_url: Url::parse("https://paas.example.org/").ok(), ..Default::default() };
        assert_eq!(config.public_git(), "https://paas.example.org");
        config.git_url = Url::parse("https://git.example.org/x/").ok();
        config.app_url = Url::parse("https://apps.example.org:8443").ok();
        assert_eq!(config.public_git(), "https://git.example.org/x");
        assert_eq!(config.app_address(&app), "https://my-app.apps.example.org:8443");
    }
}
