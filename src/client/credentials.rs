//! Who the client is to a platform: e-mail and API key, kept in `~/.netrc` where git finds them too.
//!
//! The file is replaced in one step, keeps its owner, and is followed through symbolic links. Nobody else may read it: it
//! is made with mode 0600, and one that others could read loses that when a key is written into it. `NETRC` is not looked at: git does not, and a push must find the same key as the client.

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::error::Error;
use super::netrc::{Netrc, NetrcError};

/// An e-mail address and an API key.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The account's address.
    pub email: String,
    /// The API key.
    pub key: String,
}

/// Tells whose they are and nothing else.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("email", &self.email).finish_non_exhaustive()
    }
}

/// `~/.netrc`. Nothing is cached: every call reads the file as it is now.
#[derive(Debug, Clone)]
pub struct NetrcFile {
    path: PathBuf,
}

impl NetrcFile {
    /// The file in a home folder, whether it is there or not.
    pub fn in_home(home: &Path) -> Self {
        Self { path: home.join(".netrc") }
    }

    /// For messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The credentials for a machine, if there are any.
    pub fn find(&self, machine: &str) -> Result<Option<Credentials>, Error> {
        let text = self.read()?;
        let found = self.parse(&text)?.find(machine);
        Ok(found.map(|(email, key)| Credentials { email, key }))
    }

    /// Makes `credentials` those of a machine, and of every machine that shared the former ones (the git host).
    pub fn store(&self, machine: &str, credentials: &Credentials) -> Result<(), Error> {
        self.edit(|netrc| {
            let mut text = netrc.with(machine, &credentials.email, &credentials.key)?;
            let Some((email, key)) = netrc.find(machine) else { return Ok(text) };
            for other in netrc.machines_of(&email, &key) {
                text = Netrc::parse(&text)?.with(&other, &credentials.email, &credentials.key)?;
            }
            Ok(text)
        })
    }

    /// Gives a further machine the same credentials, unless the file already knows that machine: a platform cannot make
    /// the client overwrite what belongs to another service. Returns whether the machine has them now.
    pub fn share(&self, machine: &str, credentials: &Credentials) -> Result<bool, Error> {
        let text = self.read()?;
        let netrc = self.parse(&text)?;
        if netrc.has(machine) {
            return Ok(netrc.find(machine) == Some((credentials.email.clone(), credentials.key.clone())));
        }
        self.edit(|netrc| netrc.with(machine, &credentials.email, &credentials.key))?;
        Ok(true)
    }

    /// Forgets a machine and all that share its credentials. Returns whose they were, if anybody's.
    pub fn forget(&self, machine: &str) -> Result<Option<String>, Error> {
        let text = self.read()?;
        let netrc = self.parse(&text)?;
        if !netrc.has(machine) {
            return Ok(None);
        }
        let found = netrc.find(machine);
        self.edit(|netrc| {
            let mut text = netrc.without(machine);
            if let Some((email, key)) = &found {
                for other in netrc.machines_of(email, key) {
                    text = Netrc::parse(&text)?.without(&other);
                }
            }
            Ok(text)
        })?;
        Ok(Some(found.map(|(email, _)| email).unwrap_or_default()))
    }

    fn edit(&self, change: impl FnOnce(&Netrc<'_>) -> Result<Vec<u8>, NetrcError>) -> Result<(), Error> {
        let before = self.read()?;
        let after = change(&self.parse(&before)?).map_err(|error| self.refused(&error))?;
        if after == before {
            return Ok(());
        }
        replace(&self.path, &after)
            .map_err(|error| Error::io(format_args!("could not write {}", self.path.display()), &error))
    }

    fn read(&self) -> Result<Vec<u8>, Error> {
        match fs::read(&self.path) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(Error::io(format_args!("could not read {}", self.path.display()), &error)),
        }
    }

    fn parse<'a>(&self, text: &'a [u8]) -> Result<Netrc<'a>, Error> {
        Netrc::parse(text).map_err(|error| self.refused(&error))
    }

    fn refused(&self, error: &NetrcError) -> Error {
        let message = format!("{} is left as it is: {error}", self.path.display());
        match error {
            NetrcError::Unwritable { .. } => Error::failed(message),
            _ => Error::failed(message).hint("repair that line (a value with blanks needs quotes) and try again"),
        }
    }
}

fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let (target, existing) = match fs::canonicalize(path) {
        Ok(target) => (target.clone(), Some(fs::metadata(&target)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (dangling(path), None),
        Err(error) => return Err(error),
    };
    let folder = target.parent().unwrap_or(Path::new("/"));
    let mode = existing.as_ref().map_or(0o600, |metadata| metadata.mode() & 0o700);
    let mut temporary = tempfile::Builder::new().prefix(".netrc-").tempfile_in(folder)?;
    if let Some(metadata) = existing {
        let new = temporary.as_file().metadata()?;
        if (new.uid(), new.gid()) != (metadata.uid(), metadata.gid()) {
            std::os::unix::fs::fchown(temporary.as_file(), Some(metadata.uid()), Some(metadata.gid()))?;
        }
    }
    temporary.as_file().set_permissions(Permissions::from_mode(mode))?;
    temporary.write_all(text)?;
    temporary.as_file().sync_all()?;
    temporary.persist(&target).map_err(|error| error.error)?;
    Ok(())
}

/// Where a link that points to nothing yet points to.
fn dangling(path: &Path) -> PathBuf {
    match fs::read_link(path) {
        Ok(target) => path.parent().unwrap_or(Path::new("/")).join(target),
        Err(_) => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(key: &str) -> Credentials {
        Credentials { email: "me@x.org".into(), key: key.into() }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn the_file_is_private_and_an_owner_who_allows_less_is_heeded() {
        let home = tempfile::tempdir().unwrap();
        let file = NetrcFile::in_home(home.path());
        assert_eq!(file.find("localhost").unwrap(), None);
        file.store("localhost", &credentials("one")).unwrap();
        assert_eq!(mode(file.path()), 0o600);
        assert_eq!(file.find("localhost").unwrap(), Some(credentials("one")));
        for (before, after) in [(0o644, 0o600), (0o400, 0o400)] {
            fs::set_permissions(file.path(), Permissions::from_mode(before)).unwrap();
            file.store("localhost", &credentials(&format!("{before:o}"))).unwrap();
            assert_eq!(mode(file.path()), after);
        }
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn links_are_followed_even_to_nothing() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("dotfiles")).unwrap();
        std::os::unix::fs::symlink("dotfiles/netrc", home.path().join(".netrc")).unwrap();
        let file = NetrcFile::in_home(home.path());
        for key in ["one", "two"] {
            file.store("localhost", &credentials(key)).unwrap();
            assert!(fs::symlink_metadata(file.path()).unwrap().is_symlink());
            assert!(fs::read_to_string(home.path().join("dotfiles/netrc")).unwrap().contains(key));
        }
    }

    #[test]
    fn the_git_host_follows_its_platform_and_strangers_stay() {
        let home = tempfile::tempdir().unwrap();
        let file = NetrcFile::in_home(home.path());
        let github = "machine github.com login me@x.org password other\n";
        fs::write(file.path(), github).unwrap();
        file.store("api.example", &credentials("one")).unwrap();
        assert!(file.share("git.example", &credentials("one")).unwrap());
        assert!(!file.share("github.com", &credentials("one")).unwrap(), "a platform must not take that entry");
        file.store("api.example", &credentials("two")).unwrap();
        assert_eq!(file.find("git.example").unwrap(), Some(credentials("two")));
        assert_eq!(file.forget("api.example").unwrap().as_deref(), Some("me@x.org"));
        assert_eq!(fs::read_to_string(file.path()).unwrap(), github);
        assert_eq!(file.forget("api.example").unwrap(), None);
    }

    #[test]
    fn a_file_that_cannot_be_parsed_is_not_touched() {
        let home = tempfile::tempdir().unwrap();
        let file = NetrcFile::in_home(home.path());
        fs::write(file.path(), "machine a password two words\n").unwrap();
        let error = file.store("localhost", &credentials("one")).unwrap_err();
        assert!(error.message.contains("line 1") && !error.message.contains("words"), "{error}");
        assert_eq!(fs::read_to_string(file.path()).unwrap(), "machine a password two words\n");
    }
}
