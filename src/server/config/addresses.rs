//! How the platform's addresses are written for people and programs elsewhere.

use std::net::{IpAddr, SocketAddr};

use url::Url;

use super::ServerConfig;
use crate::server::domain::{AppName, Hostname};

impl ServerConfig {
    /// Where clients reach the API; no slash at the end.
    pub fn public_api(&self) -> String {
        self.api_url.as_ref().map_or_else(|| self.listening("http", self.api, 80), bare)
    }

    /// Below it are the repositories; no slash at the end.
    pub fn public_git(&self) -> String {
        self.git_url.as_ref().map_or_else(|| self.public_api(), bare)
    }

    /// As browsers reach the domain; an app's address has its name in front of the host.
    pub fn public_apps(&self) -> String {
        match &self.app_url {
            Some(url) => bare(url),
            None if self.http.port() == 80 => format!("http://{}", self.domain),
            None => format!("http://{}:{}", self.domain, self.http.port()),
        }
    }

    /// Where ssh clients reach the server.
    pub fn public_ssh(&self) -> SshAddress {
        let listening = || SshAddress { host: self.host_of(self.ssh), port: self.ssh.port() };
        self.gateway.address.as_deref().and_then(SshAddress::parse).unwrap_or_else(listening)
    }

    /// Where a browser finds an app.
    pub fn app_address(&self, app: &AppName) -> String {
        let (scheme, port) = match &self.app_url {
            Some(url) => (url.scheme(), url.port()),
            None => ("http", Some(self.http.port()).filter(|port| *port != 80)),
        };
        let domain = self.app_url.as_ref().and_then(Url::host_str).unwrap_or(self.domain.as_str());
        let port = port.map_or_else(String::new, |port| format!(":{port}"));
        format!("{scheme}://{app}.{domain}{port}")
    }

    /// An address of ours as seen from elsewhere: the wildcard address is no place to go to, the domain is.
    fn listening(&self, scheme: &str, address: SocketAddr, usual: u16) -> String {
        let host = match address {
            SocketAddr::V6(v6) if !v6.ip().is_unspecified() => format!("[{}]", v6.ip()),
            any => self.host_of(any),
        };
        let port = if address.port() == usual { String::new() } else { format!(":{}", address.port()) };
        format!("{scheme}://{host}{port}")
    }
}

impl ServerConfig {
    fn host_of(&self, address: SocketAddr) -> String {
        if address.ip().is_unspecified() { self.domain.to_string() } else { address.ip().to_string() }
    }
}

/// Where an ssh server is: a host name or an address without brackets, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshAddress {
    /// The host, as ssh takes it.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl SshAddress {
    /// `HOST`, `HOST:PORT`, `[IPV6]` or `[IPV6]:PORT`; the usual port is 22.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().ok()?),
            _ => (text, 22),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let known = bare.parse::<IpAddr>().is_ok() || Hostname::parse(bare).is_ok();
        known.then(|| Self { host: bare.to_owned(), port })
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
    fn ssh_is_found_where_it_listens_or_where_it_is_said_to_be() {
        let at = |host: &str, port| SshAddress { host: host.to_owned(), port };
        let mut config = ServerConfig::default();
        assert_eq!(config.public_ssh(), at("127.0.0.1", 2222));
        config.ssh = "[::]:22".parse().unwrap();
        assert_eq!(config.public_ssh(), at("localhost", 22));
        for (text, meant) in [
            ("ssh.example.org", Some(at("ssh.example.org", 22))),
            ("ssh.example.org:2022", Some(at("ssh.example.org", 2022))),
            ("[2001:db8::1]:2022", Some(at("2001:db8::1", 2022))),
            ("2001:db8::1", Some(at("2001:db8::1", 22))),
            ("-oProxyCommand=x", None),
            ("two words", None),
            ("host:port", None),
        ] {
            assert_eq!(SshAddress::parse(text), meant, "{text}");
        }
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
