//! The stacks: what apps are built on and run in, by name. Each is a file of `config/stacks/`; an operator's folder may
//! add to them or replace them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rust_embed::RustEmbed;
use serde::Deserialize;

use super::docker::{Pin, Reference, Use};
use super::domain::Stack;

#[derive(RustEmbed)]
#[folder = "config/stacks"]
struct Embedded;

/// What a stack is made of.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// The image that apps run in.
    pub run: Reference,
    /// The image that they are built in.
    pub build: Reference,
    /// How the image can be made on this machine.
    #[serde(default)]
    pub debootstrap: Option<Debootstrap>,
}

impl Definition {
    /// The image of a use, held still.
    pub fn pin(&self, stack: &Stack, of: Use) -> Pin {
        let reference = if of == Use::Run { &self.run } else { &self.build };
        Pin::new(stack.as_str(), of, reference.clone())
    }

    /// Both images, and what to type when one is missing.
    pub fn both(&self, stack: &Stack) -> ([Pin; 2], String) {
        let verb = if self.debootstrap.is_some() { "build" } else { "pull" };
        ([Use::Run, Use::Build].map(|of| self.pin(stack, of)), format!("gigalixir stacks:{verb} {stack}"))
    }
}

/// What can be built on here.
#[derive(Debug, Clone)]
pub struct Offered {
    /// What an app gets that does not say.
    pub default: Stack,
    /// All, with what they are made of; nothing is known of one that is the machine itself.
    pub all: BTreeMap<Stack, Option<Definition>>,
    /// Whose images they are.
    pub socket: Option<PathBuf>,
}

impl Offered {
    /// Builds and apps use this machine's own system: the one stack.
    pub fn machine(machine: Stack) -> Self {
        Self { all: BTreeMap::from([(machine.clone(), None)]), default: machine, socket: None }
    }

    /// The default, and all.
    pub fn names(&self) -> (Stack, Vec<Stack>) {
        (self.default.clone(), self.all.keys().cloned().collect())
    }
}

/// A Debian of packages.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Debootstrap {
    /// The release's code name.
    pub suite: String,
    /// Packages beside the smallest system.
    pub include: Vec<String>,
}

/// Why the stacks cannot be known.
#[derive(Debug, thiserror::Error)]
#[error("the stack file `{}`: {why}", file.display())]
pub struct BadStack {
    file: PathBuf,
    why: String,
}

/// All stacks: those of this program, and those of `folder`, which go before.
pub fn all(folder: Option<&Path>) -> Result<BTreeMap<Stack, Definition>, BadStack> {
    let mut stacks = BTreeMap::new();
    for name in Embedded::iter() {
        let text = Embedded::get(&name).map(|file| file.data.into_owned()).unwrap_or_default();
        stacks.extend([parse(Path::new(name.as_ref()), &text)?]);
    }
    let Some(folder) = folder else { return Ok(stacks) };
    let unreadable = |error: std::io::Error| BadStack { file: folder.to_owned(), why: error.to_string() };
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        if file.extension().is_some_and(|extension| extension == "toml") {
            let text = std::fs::read(&file).map_err(unreadable)?;
            stacks.extend([parse(&file, &text)?]);
        }
    }
    Ok(stacks)
}

fn parse(file: &Path, text: &[u8]) -> Result<(Stack, Definition), BadStack> {
    let bad = |why: String| BadStack { file: file.to_owned(), why };
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    let stack = Stack::parse(&name).map_err(|why| bad(why.to_string()))?;
    let definition = toml::from_slice(text).map_err(|error| bad(error.to_string()))?;
    Ok((stack, definition))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operators_stack_goes_before_and_a_mistake_names_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("debian-12.toml", "run = \"mine\"\nbuild = \"mine\"\n");
        write("notes.txt", "no stack");
        let stacks = all(Some(folder.path())).unwrap();
        assert_eq!(stacks[&Stack::parse("debian-12").unwrap()].run.to_string(), "mine:latest");
        assert_eq!(stacks[&Stack::parse("gigalixir-24").unwrap()].run.to_string(), "heroku/heroku:24");
        write("bad.toml", "run = 1\n");
        let why = all(Some(folder.path())).unwrap_err().to_string();
        assert!(why.contains("bad.toml"), "{why}");
    }
}
