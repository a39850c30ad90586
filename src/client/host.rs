//! Which platform the client talks to.
//!
//! Order: `--host`, then `GIGALIXIR_HOST`, then the one remembered by the last `login --host` or `signup --host`, then
//! this machine's own ([`Host::DEFAULT`]). What is remembered is one line in `CONFIG_DIR/host`; credentials are never in it.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;

use url::Url;

use super::environment::Environment;
use super::error::Error;

/// The address of a platform's API: scheme, host, port, maybe a path in front. Never holds credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    base: Url,
}

impl Host {
    /// Where `gigalixir server` listens when nothing is configured.
    pub const DEFAULT: &'static str = "http://localhost:4000";

    /// Reads an address as a person types it: a scheme may be left out (http on this machine, https elsewhere), a
    /// trailing slash does not matter.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let wrong = |why: &str| Error::usage(format!("`{text}` is not a host: {why}")).hint(HINT);
        let url = if text.contains("://") { Url::parse(text) } else { Url::parse(&format!("https://{text}")) };
        let mut base = url.map_err(|error| wrong(&error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(wrong("only http and https are spoken"));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(Error::usage("credentials do not belong into the host's address").hint(HINT));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(wrong("it has a query or a fragment"));
        }
        if !text.contains("://") && is_loopback(&base) {
            base = Url::parse(&format!("http://{text}")).map_err(|error| wrong(&error.to_string()))?;
        }
        let path = base.path().trim_end_matches('/').to_owned();
        base.set_path(&path);
        Ok(Self { base })
    }

    /// The platform for this command, by the order told above.
    pub fn resolve(flag: Option<&str>, environment: &Environment) -> Result<Self, Error> {
        if let Some(text) = flag.or(environment.host.as_deref()) {
            return Self::parse(text);
        }
        let file = file(environment);
        match fs::read_to_string(&file) {
            Ok(text) if !text.trim().is_empty() => {
                Self::parse(&text).map_err(|error| error.hint(format!("this was read from {}", file.display())))
            }
            Ok(_) => Self::parse(Self::DEFAULT),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::parse(Self::DEFAULT),
            Err(error) => Err(Error::io(format_args!("could not read {}", file.display()), &error)),
        }
    }

    /// Makes this host the one that later commands talk to.
    pub fn remember(&self, environment: &Environment) -> Result<(), Error> {
        let file = file(environment);
        let write = || {
            fs::create_dir_all(&environment.config_dir)?;
            let mut temporary = tempfile::NamedTempFile::new_in(&environment.config_dir)?;
            writeln!(temporary, "{self}")?;
            temporary.persist(&file).map_err(|error| error.error)
        };
        write().map(drop).map_err(|error| Error::io(format_args!("could not write {}", file.display()), &error))
    }

    /// The name netrc knows the platform by: no scheme, no port.
    pub fn machine(&self) -> &str {
        machine(&self.base)
    }

    /// The URL of an endpoint; each segment is percent-encoded, so that no name can reach another endpoint.
    pub fn endpoint(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// Whether a URL is served by the same machine and port.
    pub fn serves(&self, url: &Url) -> bool {
        url.host() == self.base.host() && url.port_or_known_default() == self.base.port_or_known_default()
    }

    /// Whether the platform is on this machine, where no proxy has a business.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.base)
    }

    /// Whether the way to it is not encrypted.
    pub fn is_plain_http(&self) -> bool {
        self.base.scheme() == "http"
    }
}

/// The netrc name of a URL's host: IPv6 addresses without brackets, as curl looks them up.
pub fn machine(url: &Url) -> &str {
    url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.base.as_str().trim_end_matches('/'))
    }
}

const HINT: &str = "a host looks like `https://gigalixir.example.com` or `http://localhost:4000`";

fn file(environment: &Environment) -> PathBuf {
    environment.config_dir.join("host")
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_people_type_them() {
        for (typed, meant) in [
            ("http://localhost:4000", "http://localhost:4000"),
            ("http://localhost:4000/", "http://localhost:4000"),
            ("localhost:4000", "http://localhost:4000"),
            ("127.0.0.1:4000", "http://127.0.0.1:4000"),
            ("paas.example.com", "https://paas.example.com"),
            (" https://example.com/paas/ \n", "https://example.com/paas"),
            ("http://[::1]:4000", "http://[::1]:4000"),
        ] {
            assert_eq!(Host::parse(typed).unwrap().to_string(), meant, "{typed}");
        }
    }

    #[test]
    fn addresses_that_are_none() {
        for typed in ["", "ftp://example.com", "https://me:key@example.com", "https://example.com/?a=b", "https://"] {
            assert!(Host::parse(typed).is_err(), "{typed}");
        }
    }

    #[test]
    fn endpoints_keep_the_prefix_and_encode_each_segment() {
        let host = Host::parse("https://example.com/paas").unwrap();
        assert_eq!(host.endpoint(&["api", "apps", "a/b c"]).as_str(), "https://example.com/paas/api/apps/a%2Fb%20c");
        let host = Host::parse("http://localhost:4000").unwrap();
        assert_eq!(host.endpoint(&["api", "apps"]).as_str(), "http://localhost:4000/api/apps");
    }

    #[test]
    fn the_order_of_hosts() {
        let home = tempfile::tempdir().unwrap();
        let mut environment = Environment {
            home: home.path().into(),
            config_dir: home.path().join("deep/gigalixir"),
            host: None,
            app: None,
        };
        let resolve = |flag, environment: &Environment| Host::resolve(flag, environment).unwrap().to_string();
        assert_eq!(resolve(None, &environment), Host::DEFAULT);
        Host::parse("https://remembered.example").unwrap().remember(&environment).unwrap();
        assert_eq!(resolve(None, &environment), "https://remembered.example");
        environment.host = Some("https://variable.example".into());
        assert_eq!(resolve(None, &environment), "https://variable.example");
        assert_eq!(resolve(Some("https://flag.example"), &environment), "https://flag.example");
    }

    #[test]
    fn machines_have_no_port_and_no_brackets() {
        assert_eq!(Host::parse("http://localhost:4000").unwrap().machine(), "localhost");
        assert_eq!(Host::parse("http://[::1]:4000").unwrap().machine(), "::1");
    }
}
