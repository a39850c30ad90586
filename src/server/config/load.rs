//! From file, environment and flags to one checked value.

use std::ffi::OsString;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, de};
use toml::{Table, Value};

use super::ServerConfig;
use super::variables::{documented, leaves, overlay, typed};

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
    #[error("`{}` cannot be used", path.display())]
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

fn check(table: &Table, place: String) -> Result<ServerConfig, ConfigError> {
    table
        .clone()
        .try_into()
        .map_err(|error: toml::de::Error| ConfigError::Value { place, message: error.message().to_owned() })
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
mod tests;
