//! Which buildpacks an app is built with: the pure part. `BUILDPACK_URL` before `.buildpacks` before what the tree
//! looks like.

use std::fmt;
use std::path::PathBuf;

use url::Url;

/// Packs one build may use.
const MAX_PACKS: usize = 20;

/// Where a pack comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PackRef {
    /// One that the platform brings.
    Builtin(String),
    /// A git repository.
    Git {
        /// Its address, https.
        url: Url,
        /// Branch, tag or commit; its default branch if `None`.
        reference: Option<String>,
    },
    /// A `.tgz` or `.tar.gz`, https.
    Tarball(Url),
    /// A folder of the machine; the fetcher checks that the operator allows it.
    Folder(PathBuf),
}

impl fmt::Display for PackRef {
    /// As shown to people: an address without the name and password it may hold.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |url: &Url| {
            let mut url = url.clone();
            let _ = (url.set_username(""), url.set_password(None));
            url.set_query(None);
            url
        };
        match self {
            Self::Builtin(name) => f.write_str(name),
            Self::Git { url, reference: None } => write!(f, "{}", shown(url)),
            Self::Git { url, reference: Some(reference) } => write!(f, "{}#{reference}", shown(url)),
            Self::Tarball(url) => write!(f, "{}", shown(url)),
            Self::Folder(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A pack's address that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackRefError {
    /// A bare word that names none of the platform's own.
    #[error("no built-in buildpack is called `{0}`")]
    UnknownName(String),
    /// Neither a name nor an address nor a path.
    #[error("not a buildpack's name or address")]
    Unreadable,
    /// `http`, `ssh`, `git@…`: the platform fetches over https alone.
    #[error("`{0}` addresses are not fetched, only https")]
    Scheme(String),
    /// A `#ref` that could be mistaken for an option or a path.
    #[error("the part after `#` is not a branch, tag or commit")]
    Reference,
    /// More packs than one build may use.
    #[error("more than {MAX_PACKS} buildpacks")]
    TooMany,
}

/// Reads one address: `.buildpacks` has one on each line, `BUILDPACK_URL` is one. `builtins` are the platform's own.
pub fn parse(text: &str, builtins: &[String]) -> Result<PackRef, PackRefError> {
    let text = text.trim();
    if let Some(path) = text.strip_prefix("file://").or_else(|| text.starts_with('/').then_some(text)) {
        return Ok(PackRef::Folder(PathBuf::from(path)));
    }
    let is_word = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
    if !text.is_empty() && text.bytes().all(is_word) {
        let known = builtins.iter().any(|name| name == text);
        return if known { Ok(PackRef::Builtin(text.into())) } else { Err(PackRefError::UnknownName(text.into())) };
    }
    if text.starts_with("git@") {
        return Err(PackRefError::Scheme("ssh".to_owned()));
    }
    let mut url = Url::parse(text).map_err(|_| PackRefError::Unreadable)?;
    if url.scheme() != "https" {
        return Err(PackRefError::Scheme(url.scheme().to_owned()));
    }
    let reference = url.fragment().filter(|reference| !reference.is_empty()).map(str::to_owned);
    url.set_fragment(None);
    if url.path().ends_with(".tgz") || url.path().ends_with(".tar.gz") {
        return Ok(PackRef::Tarball(url));
    }
    let clean = |reference: &String| {
        let safe = |c: u8| c.is_ascii_alphanumeric() || b"-_./+@".contains(&c);
        reference.len() <= 200
            && reference.bytes().all(safe)
            && !reference.starts_with('-')
            && !reference.contains("..")
    };
    if !reference.iter().all(clean) {
        return Err(PackRefError::Reference);
    }
    Ok(PackRef::Git { url, reference })
}

/// Reads a `.buildpacks` file. Blank lines and `#` comments are skipped; a file with nothing else counts as absent and
/// gives an empty list. An error comes with its line, counted from 1.
pub fn parse_list(text: &str, builtins: &[String]) -> Result<Vec<PackRef>, (usize, PackRefError)> {
    let mut packs = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        packs.push(parse(line, builtins).map_err(|error| (index + 1, error))?);
        if packs.len() > MAX_PACKS {
            return Err((index + 1, PackRefError::TooMany));
        }
    }
    Ok(packs)
}

/// The built-in pack for a tree whose top level holds these names.
pub fn detect(names: &[String]) -> Option<PackRef> {
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    let name = [("mix.exs", "elixir"), ("Procfile", "procfile")].into_iter().find(|(file, _)| has(file))?.1;
    Some(PackRef::Builtin(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn builtins() -> Vec<String> {
        vec!["elixir".to_owned(), "procfile".to_owned()]
    }

    #[test]
    fn a_list_of_every_kind() {
        let text =
            "# packs\nelixir\n\nhttps://host.test/a/pack.git#v1.2\r\nhttps://u:secret@host.test/p.tgz\n/opt/packs/x\n";
        let packs = parse_list(text, &builtins()).unwrap();
        let shown: Vec<_> = packs.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["elixir", "https://host.test/a/pack.git#v1.2", "https://host.test/p.tgz", "/opt/packs/x"]);
        assert!(matches!(&packs[1], PackRef::Git { reference: Some(reference), .. } if reference == "v1.2"));
        assert!(matches!(&packs[2], PackRef::Tarball(url) if url.password() == Some("secret")));
        assert_eq!(parse_list("\n# nothing\n", &builtins()), Ok(Vec::new()));
    }

    #[test]
    fn what_is_refused() {
        let refused = |text: &str| parse(text, &builtins()).expect_err(text);
        assert_eq!(refused("ruby"), PackRefError::UnknownName("ruby".into()));
        assert_eq!(refused("http://host.test/x"), PackRefError::Scheme("http".into()));
        assert_eq!(refused("git@host.test:a/b.git"), PackRefError::Scheme("ssh".into()));
        assert_eq!(refused("https://host.test/x#--upload-pack=touch"), PackRefError::Reference);
        assert_eq!(refused("https://host.test/x#a/../../b"), PackRefError::Reference);
        assert_eq!(refused("../pack"), PackRefError::Unreadable);
        assert_eq!(parse_list("elixir\nruby", &builtins()).unwrap_err().0, 2);
        assert_eq!(parse_list(&"elixir\n".repeat(21), &builtins()), Err((21, PackRefError::TooMany)));
    }

    #[test]
    fn elixir_goes_before_procfile() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(detect(&names(&["Procfile", "mix.exs"])), Some(PackRef::Builtin("elixir".into())));
        assert_eq!(detect(&names(&["Procfile", "x.py"])), Some(PackRef::Builtin("procfile".into())));
        assert_eq!(detect(&names(&["README.md"])), None);
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = parse_list(&text, &builtins());
        }
    }
}
