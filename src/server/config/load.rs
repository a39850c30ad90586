//! From file, environment and flags to one checked value.
//!
//! The names of the environment variables are not written down: each key of `config/server.toml` is one,
//! `GIGALIXIR_` and the key's path in capitals (`smtp.host` is `GIGALIXIR_SMTP_HOST`), of the type the file shows.

use std::ffi::OsString;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, de};
use toml::{Table, Value};

use super::addresses::SshAddress;
use super::{ServerConfig, SlugStore};
use crate::server::domain::Price;

/// The operator's file as it is installed: documents every key and shows its default, or an example behind `#`.
const DOCUMENTED: &str = include_str!("../../../config/server.toml");

/// What the flags of `gigalixir server` say; each wins over everything else.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--config`: the file to read; none is read by default.
    pub config: Option<PathBuf>,
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
    /// `--domain`.
    pub domain: Option<String>,
    /// `--api`.
    pub api: Option<String>,
    /// `--http`.
    pub http: Option<String>,
    /// `--https`.
    pub https: Option<String>,
    /// `--ssh`.
    pub ssh: Option<String>,
    /// `--runtime`.
    pub runtime: Option<String>,
    /// `--stop-apps-on-exit`.
    pub stop_apps_on_exit: bool,
}

/// Why the configuration cannot be used. Each sentence names the place and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that cannot be read, or a folder that cannot be made.
    #[error("`{}`: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Text that does not parse; the message shows line and key.
    #[error("in `{}`: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and what.
        message: String,
    },
    /// A variable or flag that does not parse.
    #[error("{place}: {message}")]
    Value {
        /// The variable or flag.
        place: String,
        /// What is wrong.
        message: String,
    },
    /// Values that do not fit together or mean nothing.
    #[error("{0}")]
    Unusable(String),
}

impl ServerConfig {
    /// Reads everything there is to read, once.
    pub fn load(flags: &Overrides) -> Result<Self, ConfigError> {
        Self::from_parts(flags, |name| std::env::var_os(name))
    }

    fn from_parts(flags: &Overrides, env: impl Fn(&str) -> Option<OsString>) -> Result<Self, ConfigError> {
        let mut table = match &flags.config {
            Some(path) => read(path)?,
            None => Table::new(),
        };
        for (path, example) in leaves(&documented()) {
            let name = format!("GIGALIXIR_{}", path.join("_").to_uppercase());
            let Some(text) = env(&name).filter(|text| !text.is_empty()) else { continue };
            overlay(&mut table, &path, typed(&text.to_string_lossy(), &example));
            check(&table, format!("environment variable `{name}`"))?;
        }
        let data_dir = flags.data_dir.as_ref().map(|path| path.to_string_lossy().into_owned());
        for (key, flag, value) in [
            ("data_dir", "--data-dir", &data_dir),
            ("domain", "--domain", &flags.domain),
            ("api", "--api", &flags.api),
            ("http", "--http", &flags.http),
            ("https", "--https", &flags.https),
            ("ssh", "--ssh", &flags.ssh),
            ("runtime", "--runtime", &flags.runtime),
        ] {
            if let Some(text) = value {
                table.insert(key.into(), Value::String(text.clone()));
                check(&table, format!("flag `{flag}`"))?;
            }
        }
        let mut config = check(&table, "the configuration".into())?;
        config.stop_apps_on_exit |= flags.stop_apps_on_exit;
        config.file.clone_from(&flags.config);
        config.complete(&env)?;
        Ok(config)
    }

    fn complete(&mut self, env: &impl Fn(&str) -> Option<OsString>) -> Result<(), ConfigError> {
        if self.data_dir.as_os_str().is_empty() {
            self.data_dir = state_folder(env).ok_or_else(|| {
                ConfigError::Unusable(
                    "neither HOME nor XDG_STATE_HOME is set: say where state goes with --data-dir".into(),
                )
            })?;
        }
        read_secret(&mut self.smtp.password, self.smtp.password_file.as_deref())?;
        read_secret(&mut self.slugs.s3.secret_key, self.slugs.s3.secret_key_file.as_deref())?;
        read_secret(&mut self.tls.eab.key, self.tls.eab.key_file.as_deref())?;
        read_secret(&mut self.tls.dns.secret, self.tls.dns.secret_file.as_deref())?;
        match self.contradiction() {
            Some(sentence) => Err(ConfigError::Unusable(sentence)),
            None => Ok(()),
        }
    }

    fn contradiction(&self) -> Option<String> {
        let s3 = &self.slugs.s3;
        let s3_complete =
            s3.endpoint.is_some() && s3.bucket.is_some() && s3.access_key.is_some() && s3.secret_key.is_some();
        let web = |url: &url::Url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some();
        let addresses = [
            ("api_url", &self.api_url),
            ("git_url", &self.git_url),
            ("app_url", &self.app_url),
            ("kubernetes.server_url", &self.kubernetes.server_url),
        ];
        let odd = addresses.into_iter().find(|(_, url)| url.as_ref().is_some_and(|url| !web(url)));
        if let Some((key, _)) = odd {
            return Some(format!("`{key}` is no http:// or https:// address"));
        }
        if self.slugs.store == SlugStore::S3 && !s3_complete {
            return Some(
                "slugs.store \"s3\" needs `endpoint`, `bucket`, `access_key` and `secret_key` in [slugs.s3]".into(),
            );
        }
        if self.smtp.username.is_some() != self.smtp.password.is_some() {
            return Some("[smtp] needs `username` and `password` (or `password_file`) together".into());
        }
        if let Err(why) = Price::parse(self.billing.price) {
            return Some(format!("`billing.{}` {}", why.field, why.message));
        }
        if self.docker.subnets.prefix_len() > 26 {
            return Some("`docker.subnets` must be a /26 or larger: each app's network takes 64 addresses".into());
        }
        let prefix = &self.kubernetes.namespace_prefix;
        let is_prefix = prefix.len() <= 32
            && prefix.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
            && prefix.bytes().next().is_none_or(|c| c.is_ascii_lowercase());
        if !is_prefix {
            return Some(
                "`kubernetes.namespace_prefix` must be at most 32 of a-z, 0-9 and -, and begin with a letter".into(),
            );
        }
        if self.limits.releases_kept < 2 {
            return Some("`limits.releases_kept` must be at least 2, so that there is a release to go back to".into());
        }
        if let Some(sentence) = self.tls.contradiction() {
            return Some(sentence);
        }
        if self.gateway.address.as_deref().is_some_and(|address| SshAddress::parse(address).is_none()) {
            return Some("`gateway.address` is neither a host nor HOST:PORT".into());
        }
        self.zero().map(|key| format!("`{key}` must not be 0"))
    }

    fn zero(&self) -> Option<&'static str> {
        let (limits, builder, deploy) = (&self.limits, &self.builder, &self.deploy);
        [
            ("limits.body_kib", limits.body_kib == 0),
            ("limits.config_kib", limits.config_kib == 0),
            ("limits.pack_mib", limits.pack_mib == 0),
            ("limits.object_mib", limits.object_mib == 0),
            ("limits.pushes_at_once", limits.pushes_at_once == 0),
            ("limits.slug_mib", limits.slug_mib == 0),
            ("limits.log_mib", limits.log_mib == 0),
            ("jobs.seconds", self.jobs.seconds == 0),
            ("jobs.terminal_seconds", self.jobs.terminal_seconds == 0),
            ("jobs.longest_seconds", self.jobs.longest_seconds == 0),
            ("jobs.release_seconds", self.jobs.release_seconds == 0),
            ("jobs.at_once", self.jobs.at_once == 0),
            ("jobs.kept", self.jobs.kept == 0),
            ("jobs.output_kib", self.jobs.output_kib == 0),
            ("rates.codes_per_signup", self.rates.codes_per_signup == 0),
            ("builder.at_once", builder.at_once == 0),
            ("builder.minutes", builder.minutes == 0),
            ("builder.memory_mib", builder.memory_mib == 0),
            ("builder.pids", builder.pids == 0),
            ("builder.disk_mib", builder.disk_mib == 0),
            ("slugs.url_seconds", self.slugs.url_seconds == 0),
            ("deploy.health_seconds", deploy.health_seconds == 0),
            ("router.connect_seconds", self.router.connect_seconds == 0),
            ("router.response_seconds", self.router.response_seconds == 0),
            ("router.header_seconds", self.router.header_seconds == 0),
            ("router.body_seconds", self.router.body_seconds == 0),
            ("gateway.login_seconds", self.gateway.login_seconds == 0),
            ("gateway.connections_per_address", self.gateway.connections_per_address == 0),
            ("gateway.connections_per_account", self.gateway.connections_per_account == 0),
            ("gateway.channels_per_connection", self.gateway.channels_per_connection == 0),
            ("gateway.buffer_mib", self.gateway.buffer_mib == 0),
        ]
        .into_iter()
        .find_map(|(key, is_zero)| is_zero.then_some(key))
    }

    /// Makes the data directory, or makes an existing one private: nobody else has business in it.
    pub fn prepare_data_dir(&self) -> Result<(), ConfigError> {
        let failed = |source| ConfigError::File { path: self.data_dir.clone(), source };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.data_dir).map_err(failed)?;
        let mode = std::fs::metadata(&self.data_dir).map_err(failed)?.permissions().mode();
        if mode & 0o077 != 0 {
            std::fs::set_permissions(&self.data_dir, std::fs::Permissions::from_mode(0o700)).map_err(failed)?;
        }
        Ok(())
    }
}

fn state_folder(env: &impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |name| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let states = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")))?;
    Some(states.join("gigalixir"))
}

fn read(path: &Path) -> Result<Table, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::File { path: path.to_owned(), source })?;
    let syntax =
        |error: toml::de::Error| ConfigError::Syntax { path: path.to_owned(), message: located(&text, &error) };
    toml::from_str::<ServerConfig>(&text).map_err(syntax)?;
    text.parse().map_err(syntax)
}

/// Line, key and reason. Never the line itself, which may hold a secret.
fn located(text: &str, error: &toml::de::Error) -> String {
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else { return error.message().to_owned() };
    let number = before.matches('\n').count();
    let key =
        text.lines().nth(number).and_then(|line| line.split_once('=')).map(|(key, _)| format!(", `{}`", key.trim()));
    format!("line {}{}: {}", number + 1, key.unwrap_or_default(), error.message())
}

fn read_secret(secret: &mut Option<SecretString>, file: Option<&Path>) -> Result<(), ConfigError> {
    let Some(path) = file else { return Ok(()) };
    if secret.is_some() {
        return Err(ConfigError::Unusable(format!(
            "a secret is given both by itself and as the file `{}`: choose one",
            path.display()
        )));
    }
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::File { path: path.to_owned(), source })?;
    *secret = Some(SecretString::from(text.trim_end_matches(['\r', '\n'])));
    Ok(())
}

/// Every key, the optional ones with their examples.
fn documented() -> Table {
    let shown: Vec<&str> = DOCUMENTED.lines().map(|line| if is_example(line) { &line[1..] } else { line }).collect();
    shown.join("\n").parse().unwrap_or_default()
}

/// `#key = value`; prose has a blank after its `#`.
fn is_example(line: &str) -> bool {
    line.starts_with('#') && line[1..].starts_with(|c: char| c.is_ascii_lowercase())
}

fn leaves(table: &Table) -> Vec<(Vec<String>, Value)> {
    let mut found = Vec::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) => found.extend(leaves(inner).into_iter().map(|(mut path, value)| {
                path.insert(0, key.clone());
                (path, value)
            })),
            leaf => found.push((vec![key.clone()], leaf.clone())),
        }
    }
    found
}

fn overlay(table: &mut Table, path: &[String], value: Value) {
    match path {
        [] => {}
        [key] => {
            table.insert(key.clone(), value);
        }
        [key, rest @ ..] => {
            if let Value::Table(inner) = table.entry(key.clone()).or_insert_with(|| Value::Table(Table::new())) {
                overlay(inner, rest, value);
            }
        }
    }
}

/// A variable's text as a value of the example's type; lists are separated by commas.
fn typed(text: &str, example: &Value) -> Value {
    match example {
        Value::Integer(_) => text.trim().parse().map_or_else(|_| Value::String(text.into()), Value::Integer),
        Value::Boolean(_) => text.trim().parse().map_or_else(|_| Value::String(text.into()), Value::Boolean),
        Value::Array(_) => Value::Array(text.split(',').map(|part| Value::String(part.trim().into())).collect()),
        _ => Value::String(text.into()),
    }
}

fn check(table: &Table, place: String) -> Result<ServerConfig, ConfigError> {
    table
        .clone()
        .try_into()
        .map_err(|error: toml::de::Error| ConfigError::Value { place, message: error.to_string().trim().to_owned() })
}

/// Networks (`10.0.0.0/8`) and single addresses.
pub(super) fn networks<'de, D: Deserializer<'de>>(source: D) -> Result<Vec<IpNet>, D::Error> {
    let parse = |text: String| {
        let single = || text.parse::<IpAddr>().map(IpNet::from);
        text.parse()
            .or_else(|_| single())
            .map_err(|_| de::Error::custom(format!("`{text}` is neither an address nor a network such as 10.0.0.0/8")))
    };
    Vec::<String>::deserialize(source)?.into_iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn load(flags: Overrides, env: &[(&str, &str)]) -> Result<ServerConfig, String> {
        let env: BTreeMap<&str, &str> = env.iter().copied().chain([("HOME", "/home/me")]).collect();
        ServerConfig::from_parts(&flags, |name| env.get(name).map(OsString::from)).map_err(|error| error.to_string())
    }

    fn load_file(text: &str, env: &[(&str, &str)]) -> Result<ServerConfig, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        load(Overrides { config: Some(file.path().into()), ..Overrides::default() }, env)
    }

    #[test]
    fn the_documented_file_shows_the_defaults() {
        let shown: ServerConfig = toml::from_str(DOCUMENTED).unwrap();
        assert_eq!(format!("{shown:#?}"), format!("{:#?}", ServerConfig::default()));
    }

    /// The struct's own fields are learnt from serde's complaint about one that does not exist.
    fn fields(section: &str) -> BTreeSet<String> {
        let text = if section.is_empty() { "bogus = 1".to_owned() } else { format!("[{section}]\nbogus = 1") };
        let complaint = toml::from_str::<ServerConfig>(&text).unwrap_err().message().to_owned();
        let (_, names) = complaint.split_once("expected one of").unwrap();
        names.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    fn keys(table: &Table) -> BTreeSet<String> {
        table.keys().cloned().collect()
    }

    #[test]
    fn every_key_is_documented() {
        let all = documented();
        assert_eq!(keys(&all), fields(""));
        let sections = [
            "smtp",
            "limits",
            "rates",
            "builder",
            "slugs",
            "deploy",
            "jobs",
            "router",
            "billing",
            "docker",
            "kubernetes",
            "tls",
        ];
        for section in sections {
            assert_eq!(keys(all[section].as_table().unwrap()), fields(section), "[{section}]");
        }
        for (outer, inner) in [("slugs", "s3"), ("tls", "eab"), ("tls", "dns")] {
            assert_eq!(keys(all[outer][inner].as_table().unwrap()), fields(&format!("{outer}.{inner}")));
        }
        assert!(all.try_into::<ServerConfig>().is_ok(), "every example is a good value");
    }

    #[test]
    fn flags_go_before_variables_before_the_file() {
        let file = "domain = \"file.org\"\napi = \"127.0.0.1:1\"\nhttp = \"127.0.0.1:1\"\n[smtp]\nhost = \"a\"";
        let env = [("GIGALIXIR_API", "127.0.0.1:2"), ("GIGALIXIR_HTTP", "127.0.0.1:2"), ("GIGALIXIR_SMTP_PORT", "99")];
        let config = load_file(file, &env).unwrap();
        assert_eq!((config.domain.as_str(), config.api.port(), config.smtp.port), ("file.org", 2, Some(99)));
        assert_eq!(config.smtp.host.as_deref(), Some("a"));
        let flags = Overrides { http: Some("127.0.0.1:3".into()), ..Overrides::default() };
        let config = load(flags, &env).unwrap();
        assert_eq!((config.http.port(), config.api.port()), (3, 2));
    }

    #[test]
    fn every_key_is_a_variable() {
        let env = [
            ("GIGALIXIR_TRUSTED_PROXIES", "10.0.0.0/8, ::1"),
            ("GIGALIXIR_SLUGS_S3_PREFIX", "123"),
            ("GIGALIXIR_LIMITS_RELEASES_KEPT", "7"),
            ("GIGALIXIR_DOMAIN", ""),
        ];
        let config = load(Overrides::default(), &env).unwrap();
        assert_eq!(config.trusted_proxies.len(), 2);
        assert_eq!((config.slugs.s3.prefix.as_str(), config.limits.releases_kept), ("123", 7));
        assert_eq!(config.domain.as_str(), "localhost", "an empty variable is as good as none");
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let wrong = load_file("domain = \"x.org\"\n[limits]\npack_mb = 3\n", &[]).unwrap_err();
        assert!(wrong.contains("pack_mb") && wrong.contains("line 3"), "{wrong}");
        let wrong = load_file("# where\napi = \"nowhere\"", &[]).unwrap_err();
        assert!(wrong.contains("line 2, `api`: "), "{wrong}");
        let wrong = load_file("[smtp]\npassword = \"hush", &[]).unwrap_err();
        assert!(wrong.contains("line 2, `password`: ") && !wrong.contains("hush"), "{wrong}");
        let wrong = load(Overrides::default(), &[("GIGALIXIR_LIMITS_SLUG_MIB", "lots")]).unwrap_err();
        assert!(wrong.contains("GIGALIXIR_LIMITS_SLUG_MIB"), "{wrong}");
        let wrong = load(Overrides { ssh: Some("22".into()), ..Overrides::default() }, &[]).unwrap_err();
        assert!(wrong.contains("--ssh"), "{wrong}");
        let wrong = load(Overrides { config: Some("/nonexistent/x".into()), ..Overrides::default() }, &[]).unwrap_err();
        assert!(wrong.contains("/nonexistent/x"), "{wrong}");
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for (text, word) in [
            ("[kubernetes]\nserver_url = \"ftp://x\"", "kubernetes.server_url"),
            ("[kubernetes]\nnamespace_prefix = \"A_\"", "namespace_prefix"),
            ("api_url = \"ftp://x\"", "api_url"),
            ("[slugs]\nstore = \"s3\"", "[slugs.s3]"),
            ("[smtp]\nusername = \"u\"", "together"),
            ("[limits]\nreleases_kept = 1", "at least 2"),
            ("[builder]\nminutes = 0", "builder.minutes"),
            ("[tls]\nchallenge = \"dns-01\"", "provider"),
            ("[tls.eab]\nkid = \"x\"", "together"),
            ("[tls.dns]\nprovider = \"acme-dns\"", "url"),
            ("[tls.dns]\nprovider = \"rfc2136\"\nserver = \"127.0.0.1:53\"", "key_name"),
            ("[gateway]\naddress = \"-oProxyCommand=x\"", "HOST:PORT"),
            ("[gateway]\nbuffer_mib = 0", "gateway.buffer_mib"),
            ("[billing]\nprice = -1", "billing.price"),
            ("trusted_proxies = [\"10.0.0.0/99\"]", "neither"),
            ("[smtp]\npassword_file = \"/nonexistent/y\"\nusername = \"u\"", "/nonexistent/y"),
        ] {
            let refusal = load_file(text, &[]).unwrap_err();
            assert!(refusal.contains(word), "{text}: {refusal}");
        }
    }

    #[test]
    fn state_goes_to_the_users_folder() {
        assert_eq!(load(Overrides::default(), &[]).unwrap().data_dir, Path::new("/home/me/.local/state/gigalixir"));
        let config = load(Overrides::default(), &[("XDG_STATE_HOME", "/s")]).unwrap();
        assert_eq!(config.data_dir, Path::new("/s/gigalixir"));
        let homeless = ServerConfig::from_parts(&Overrides::default(), |_| None).unwrap_err().to_string();
        assert!(homeless.contains("--data-dir"), "{homeless}");
    }

    #[test]
    fn secrets_come_from_files_and_are_never_shown() {
        use secrecy::ExposeSecret;
        let secret = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(secret.path(), "hush\n").unwrap();
        let text = format!("[smtp]\nusername = \"u\"\npassword_file = \"{}\"", secret.path().display());
        let config = load_file(&text, &[]).unwrap();
        assert_eq!(config.smtp.password.as_ref().unwrap().expose_secret(), "hush");
        assert!(!format!("{config:?}").contains("hush"));
        let both = load_file(&format!("{text}\npassword = \"p\""), &[]).unwrap_err();
        assert!(both.contains("choose one"), "{both}");
    }

    #[test]
    fn the_data_directory_is_private() {
        let parent = tempfile::tempdir().unwrap();
        let config = ServerConfig { data_dir: parent.path().join("a/b"), ..ServerConfig::default() };
        let mode = || std::fs::metadata(&config.data_dir).unwrap().permissions().mode() & 0o777;
        config.prepare_data_dir().unwrap();
        assert_eq!(mode(), 0o700);
        std::fs::set_permissions(&config.data_dir, std::fs::Permissions::from_mode(0o755)).unwrap();
        config.prepare_data_dir().unwrap();
        assert_eq!(mode(), 0o700);
    }
}
