//! Where a drain leads: an address as a person gives it, and the rule which addresses the server may talk to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use url::{Host, Url};

use crate::server::domain::Invalid;

/// Bytes of an address.
const LONGEST: usize = 2048;

/// How lines travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carrier {
    /// `POST`s of logplex frames, with or without TLS as the URL has it.
    Http,
    /// Syslog frames over TCP.
    Tcp,
    /// Syslog frames over TLS.
    Tls,
}

/// Where a drain leads. May hold a password, so `Debug` and `Display` show only scheme, host and port.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    url: Url,
    pub(super) carrier: Carrier,
}

impl Target {
    /// Checks an address: `https://…`, `http://…`, `syslog://HOST[:PORT]` or `syslog+tls://HOST[:PORT]`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let invalid = |why: &str| Invalid::new("url", why);
        let text = text.trim();
        if text.len() > LONGEST {
            return Err(Invalid::new("url", format!("should be at most {LONGEST} byte(s)")));
        }
        let url = Url::parse(text)
            .map_err(|_| invalid("has invalid format: give https://…, syslog://HOST:PORT or syslog+tls://HOST:PORT"))?;
        let carrier = match url.scheme() {
            "https" | "http" => Carrier::Http,
            "syslog" => Carrier::Tcp,
            "syslog+tls" => Carrier::Tls,
            _ => return Err(invalid("should begin with https://, http://, syslog:// or syslog+tls://")),
        };
        if url.host_str().is_none_or(str::is_empty) {
            return Err(invalid("has no host"));
        }
        let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.username().is_empty();
        if carrier != Carrier::Http && !(bare && url.password().is_none()) {
            return Err(invalid("of syslog is only a host and a port: syslog+tls://HOST:PORT"));
        }
        if url.port() == Some(0) {
            return Err(invalid("has no port that could be reached"));
        }
        Ok(Self { url, carrier })
    }

    /// As it was given, secrets included.
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// The host's name, or its address if it was given as one.
    pub(super) fn host(&self) -> Result<IpAddr, String> {
        match self.url.host() {
            Some(Host::Ipv4(ip)) => Ok(ip.into()),
            Some(Host::Ipv6(ip)) => Ok(ip.into()),
            // Hosts of schemes that the URL standard does not know are not parsed any further.
            Some(Host::Domain(name)) => name.parse().map_err(|_| name.to_owned()),
            None => Err(String::new()),
        }
    }

    pub(super) fn port(&self) -> u16 {
        let usual = match self.carrier {
            Carrier::Http => self.url.port_or_known_default().unwrap_or(443),
            Carrier::Tcp => 514,
            Carrier::Tls => 6514,
        };
        self.url.port().unwrap_or(usual)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.url.scheme(), self.url.host_str().unwrap_or_default())?;
        match self.url.port() {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whom the server may talk to on behalf of somebody who has an app.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach {
    /// Also this machine and networks that are not the internet.
    pub(super) private: bool,
}

impl Reach {
    pub(super) fn allows(self, ip: IpAddr) -> bool {
        self.private || is_public(ip)
    }

    /// The addresses of a target that may be talked to. Asked anew for every connection: a name can be led elsewhere
    /// once it was looked at.
    pub(super) async fn addresses(self, target: &Target) -> Result<Vec<SocketAddr>, String> {
        match target.host() {
            Ok(ip) => self.allowed([SocketAddr::new(ip, target.port())]),
            Err(name) => self.lookup(&name, target.port()).await,
        }
    }

    pub(super) async fn lookup(self, name: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        let found = tokio::net::lookup_host((name, port)).await;
        self.allowed(found.map_err(|error| format!("`{name}` cannot be resolved: {error}"))?)
    }

    fn allowed(self, found: impl IntoIterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, String> {
        let allowed: Vec<_> = found.into_iter().filter(|address| self.allows(address.ip())).collect();
        match allowed.is_empty() {
            true => Err(PRIVATE.to_owned()),
            false => Ok(allowed),
        }
    }
}

/// Why an address is refused.
pub(super) const PRIVATE: &str =
    "leads to this machine or a private network, which the operator has to allow (`limits.private_drains`)";

/// Whether an address is one of the internet's: not of this machine, a private network, a link, a cloud's metadata.
fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => {
            let [first, second, ..] = ip.segments();
            let inner = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
            match (first, second) {
                // NAT64 and 6to4 lead on to an IPv4 address.
                (0x64, 0xff9b) => is_public_v4(inner(ip.segments()[6], ip.segments()[7])),
                (0x2002, high) => is_public_v4(inner(high, ip.segments()[2])),
                // Teredo, documentation; then all that is not global unicast.
                (0x2001, 0 | 0xdb8) => false,
                _ => first & 0xe000 == 0x2000,
            }
        }
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = matches!((a, b, c), (0 | 10 | 127, ..) | (192, 0, 0 | 2) | (198, 51, 100) | (203, 0, 113))
        || (a == 100 && b & 0xc0 == 64)
        || (a == 198 && b & 0xfe == 18);
    !(special || ip.is_private() || ip.is_link_local() || ip.is_multicast() || a >= 240)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_checked() {
        for (good, shown, port) in [
            ("https://u:secret@logs.example.com/in?k=secret", "https://logs.example.com", 443),
            ("http://logs.example.com:8080/", "http://logs.example.com:8080", 8080),
            ("syslog://logs.example.com", "syslog://logs.example.com", 514),
            (" syslog+tls://[2001:db8::1]:6000 ", "syslog+tls://[2001:db8::1]:6000", 6000),
            ("syslog+tls://logs.example.com/", "syslog+tls://logs.example.com", 6514),
        ] {
            let target = Target::parse(good).unwrap();
            assert_eq!((target.to_string().as_str(), target.port()), (shown, port));
            assert!(!format!("{target:?}").contains("secret"));
        }
        for bad in
            ["", "logs", "ftp://x.org", "https://", "syslog://", "syslog://u:p@x.org", "syslog://x.org/a", "file:///x"]
        {
            assert_eq!(Target::parse(bad).unwrap_err().field, "url", "{bad}");
        }
        assert!(Target::parse(&format!("https://x.org/{}", "a".repeat(LONGEST))).is_err());
    }

    #[test]
    fn only_the_internet_is_public() {
        for ip in ["8.8.8.8", "100.63.0.1", "2606:4700::1111", "64:ff9b::8.8.8.8", "172.32.0.1"] {
            assert!(is_public(ip.parse().unwrap()), "{ip}");
        }
        for ip in [
            "127.0.0.1",
            "127.64.0.1",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.100.100.200",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.0.192",
            "::1",
            "::",
            "fe80::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:127.0.0.1",
            "64:ff9b::10.0.0.1",
            "2002:7f00:1::",
            "::127.0.0.1",
        ] {
            assert!(!is_public(ip.parse().unwrap()), "{ip}");
        }
    }

    #[tokio::test]
    async fn a_name_is_looked_up_before_it_is_believed() {
        let reach = |private| Reach { private };
        let target = |text: &str| Target::parse(text).unwrap();
        for text in [
            "syslog://localhost:1",
            "https://127.0.0.1/",
            "http://[::1]:80/",
            "http://2130706433/",
            "syslog://127.0.0.1",
        ] {
            assert_eq!(reach(false).addresses(&target(text)).await.unwrap_err(), PRIVATE, "{text}");
            assert!(reach(true).addresses(&target(text)).await.is_ok(), "{text}");
        }
        let unknown = reach(false).addresses(&target("syslog://no-such-host.invalid")).await.unwrap_err();
        assert!(unknown.contains("no-such-host.invalid"), "{unknown}");
    }
}
