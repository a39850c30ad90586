//! Names that end up in paths, host names, environment variables and labels: validated once, here.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Invalid;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Invalid;
            fn try_from(text: String) -> Result<Self, Invalid> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.to_string()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// An app's name: a DNS label (RFC 1123) that begins with a letter, 2 to 63 of `a-z 0-9 -`, none of the names
    /// that the platform keeps for itself. It is a folder, a host name and a Kubernetes namespace, and never changes.
    AppName
}
name! {
    /// A process type of a Procfile: 1 to 32 of `a-z 0-9 - _`, beginning with a letter.
    ProcessType
}
name! {
    /// A stack, the system an app is built and run on: 1 to 63 of `a-z 0-9 . -`.
    Stack
}
name! {
    /// A host name as routed: lower case, no port, no trailing dot, at most 253 bytes of LDH labels. As a domain of an app's
    /// also `*.` and one, for every host with one label more that is nobody else's.
    Hostname
}
name! {
    /// A name in a certificate: a host name, or `*.` and one, which covers every host with one label more.
    CertificateName
}

/// Names no app may have: hosts of the platform's own below its domain, and words that would confuse.
const RESERVED: &[&str] =
    &["admin", "api", "app", "apps", "dashboard", "git", "gigalixir", "localhost", "ssh", "status", "www"];

fn is_label(text: &str) -> bool {
    let edge = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes.first().is_some_and(|c| edge(*c))
        && bytes.last().is_some_and(|c| edge(*c))
        && bytes.iter().all(|c| edge(*c) || *c == b'-')
}

impl AppName {
    /// Checks a name as a person or a URL gives it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let invalid = |message: &str| Err(Invalid::new("unique_name", message));
        if text.len() < 2 || text.len() > 63 {
            return invalid("should be 2 to 63 character(s)");
        }
        if !is_label(text) || !text.starts_with(|c: char| c.is_ascii_lowercase()) {
            return invalid("has invalid format: use a-z, 0-9 and -, begin with a letter, do not end with -");
        }
        if RESERVED.contains(&text) {
            return invalid("is reserved for the platform");
        }
        Ok(Self(text.into()))
    }
}

impl ProcessType {
    /// Checks a process type.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let ok = text.len() <= 32
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'_');
        if ok {
            Ok(Self(text.into()))
        } else {
            Err(Invalid::new(
                "process",
                format!("type `{text}` has invalid format: use a-z, 0-9, - and _, begin with a letter"),
            ))
        }
    }

    /// `web`: the one process type that visitors are routed to.
    pub fn web() -> Self {
        Self("web".into())
    }

    /// `release`: runs once in each deploy of new code, before the new replicas.
    pub fn release() -> Self {
        Self("release".into())
    }

    /// A replica in which a hot upgrade is tried, and that nobody visits.
    pub fn rehearsal() -> Self {
        Self("rehearsal".into())
    }

    /// `run`: what a person's one-off jobs are called.
    pub fn run() -> Self {
        Self("run".into())
    }

    /// `cron`: what scheduled jobs are called.
    pub fn cron() -> Self {
        Self("cron".into())
    }

    /// `flame`: what runners are called that an app asks for by itself.
    pub fn flame() -> Self {
        Self("flame".into())
    }

    /// Whether visitors are routed to it.
    pub fn is_web(&self) -> bool {
        self.as_str() == "web"
    }
}

impl Stack {
    /// A machine that does not say what it is.
    pub fn local() -> Self {
        Self("local".into())
    }

    /// Checks a stack's name.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let ok = (1..=63).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'.');
        if ok { Ok(Self(text.into())) } else { Err(Invalid::new("stack", "has invalid format")) }
    }
}

impl Hostname {
    /// Checks and lower-cases a host name; a `Host` header's port must be cut off before.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let text = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let ok = !text.is_empty() && text.len() <= 253 && text.split('.').all(is_label);
        if ok {
            Ok(Self(text.into()))
        } else {
            Err(Invalid::new("fqdn", "has invalid format: it should be a name as www.example.com"))
        }
    }

    /// Checks and lower-cases what an app may have as a domain.
    pub fn parse_domain(text: &str) -> Result<Self, Invalid> {
        Ok(Self(CertificateName::parse(text)?.0))
    }

    /// What a wildcard's hosts are below, of one.
    pub fn below(&self) -> Option<&str> {
        self.0.strip_prefix("*.")
    }

    /// `localhost`: the domain of a platform nobody else can reach.
    pub fn localhost() -> Self {
        Self("localhost".into())
    }

    /// `APP.DOMAIN`, an app's own host.
    pub fn of_app(app: &AppName, domain: &Hostname) -> Self {
        Self(format!("{app}.{domain}").into())
    }
}

impl CertificateName {
    /// Checks and lower-cases a name.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match text.strip_prefix("*.") {
            Some(rest) => Ok(Self(format!("*.{}", Hostname::parse(rest)?).into())),
            None => Ok(Hostname::parse(text)?.into()),
        }
    }

    /// `*.DOMAIN`.
    pub fn wildcard(domain: &Hostname) -> Self {
        Self(format!("*.{domain}").into())
    }

    /// The name without the wildcard's label.
    pub fn base(&self) -> &str {
        self.0.strip_prefix("*.").unwrap_or(&self.0)
    }

    /// Whether it stands for all hosts below another.
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }

    /// Whether a visitor of `host` accepts it.
    pub fn covers(&self, host: &str) -> bool {
        match self.0.strip_prefix("*.") {
            Some(parent) => host.split_once('.').is_some_and(|(_, rest)| rest == parent),
            None => &*self.0 == host,
        }
    }
}

impl From<Hostname> for CertificateName {
    fn from(host: Hostname) -> Self {
        Self(host.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_names_are_dns_labels() {
        for good in ["ab", "my-app", "a1", "x-2-y"] {
            assert!(AppName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "1a", "-a", "a-", "A-b", "a_b", "a.b", "a/b", "../x", "api", "äb", &"a".repeat(64)] {
            assert!(AppName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_wildcard_covers_one_label() {
        let wildcard = CertificateName::parse("*.Example.org").unwrap();
        assert!(wildcard.covers("a.example.org") && wildcard.is_wildcard());
        for host in ["example.org", "a.b.example.org", "*.example.org.x", "aexample.org"] {
            assert!(!wildcard.covers(host), "{host}");
        }
        assert!(CertificateName::parse("a.b").unwrap().covers("a.b"));
        for bad in ["*", "*.", "a.*.b", "**.a", "*.*.a"] {
            assert!(CertificateName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hostnames_are_normalised() {
        assert_eq!(Hostname::parse("WWW.Example.com.").map(String::from), Ok("www.example.com".to_owned()));
        for bad in ["", ".", "a..b", "a_b.c", "a b", "-a.com"] {
            assert!(Hostname::parse(bad).is_err(), "{bad}");
        }
    }
}
