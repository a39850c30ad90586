//! Everything the client reads from its environment, read once; no other file of the client asks for a variable.

use std::ffi::OsString;
use std::path::PathBuf;

use super::error::Error;

/// Where this person's files are, and what they set for every command.
#[derive(Debug, Clone)]
pub struct Environment {
    /// `HOME`, else the account's home folder: here is `.netrc`, where git and curl look for it too.
    pub home: PathBuf,
    /// `XDG_CONFIG_HOME/gigalixir`, else `HOME/.config/gigalixir`.
    pub config_dir: PathBuf,
    /// `GIGALIXIR_HOST`: the platform to talk to, before the remembered one.
    pub host: Option<String>,
    /// `GIGALIXIR_APP`: the app when the command line names none.
    pub app: Option<String>,
}

impl Environment {
    /// Reads the process's environment; an empty variable counts as unset.
    pub fn read() -> Result<Self, Error> {
        Self::from(|name| std::env::var_os(name), std::env::home_dir)
    }

    fn from(
        variable: impl Fn(&str) -> Option<OsString>,
        account_home: impl FnOnce() -> Option<PathBuf>,
    ) -> Result<Self, Error> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let text = |name: &str| match set(name).map(OsString::into_string) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text)),
            Some(Err(_)) => Err(Error::usage(format!("the environment variable `{name}` is not UTF-8"))),
        };
        let home = set("HOME").map(PathBuf::from).or_else(account_home);
        let home = home.ok_or_else(|| Error::usage("`HOME` is not set, and your `.netrc` is looked for there"))?;
        let config = set("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let config_dir = config.unwrap_or_else(|| home.join(".config")).join("gigalixir");
        Ok(Self { home, config_dir, host: text("GIGALIXIR_HOST")?, app: text("GIGALIXIR_APP")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Environment, Error> {
        Environment::from(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()), || None)
    }

    #[test]
    fn xdg_decides_where_the_host_is_remembered() {
        let plain = read(&[("HOME", "/home/a"), ("GIGALIXIR_APP", "")]).unwrap();
        assert_eq!(plain.config_dir, PathBuf::from("/home/a/.config/gigalixir"));
        assert_eq!(plain.app, None);
        let xdg = read(&[("HOME", "/home/a"), ("XDG_CONFIG_HOME", "/conf")]).unwrap();
        assert_eq!(xdg.config_dir, PathBuf::from("/conf/gigalixir"));
        let relative = read(&[("HOME", "/home/a"), ("XDG_CONFIG_HOME", "conf")]).unwrap();
        assert_eq!(relative.config_dir, plain.config_dir, "the XDG rules say: ignore a relative path");
    }

    #[test]
    fn no_home_is_said() {
        assert!(read(&[]).unwrap_err().to_string().contains("`HOME` is not set"));
    }
}
