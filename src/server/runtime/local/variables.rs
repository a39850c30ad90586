//! The environment of a run, in the file through which it goes in: secrets are in no argument vector, and bubblewrap
//! reads its arguments from a file that nobody else can read.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

const SETENV: &str = "--setenv";

/// Where it lies in a replica's folder.
pub(super) fn file(dir: &Path) -> PathBuf {
    dir.join("args")
}

/// Writes it down, with the port that this run was given.
pub(super) fn write(dir: &Path, env: &BTreeMap<String, String>, port: u16) -> io::Result<()> {
    let port = port.to_string();
    let mut args = Vec::new();
    for (name, value) in env {
        let value = if name == "PORT" { &port } else { value };
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            continue;
        }
        for part in [SETENV, name, value] {
            args.extend_from_slice(part.as_bytes());
            args.push(0);
        }
    }
    File::options().write(true).create(true).truncate(true).mode(0o600).open(file(dir))?.write_all(&args)
}

/// What the present run was given.
pub(super) fn read(dir: &Path) -> io::Result<BTreeMap<String, String>> {
    let text = fs::read_to_string(file(dir))?;
    let mut parts = text.split_terminator('\0');
    let mut env = BTreeMap::new();
    while let (Some(SETENV), Some(name), Some(value)) = (parts.next(), parts.next(), parts.next()) {
        env.insert(name.to_owned(), value.to_owned());
    }
    Ok(env)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_with_the_port_of_the_run() {
        let dir = tempfile::tempdir().unwrap();
        let env = [("A", "b c\n'd'"), ("EMPTY", ""), ("PORT", "1"), ("BAD=NAME", "x")];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        write(dir.path(), &env, 4321).unwrap();
        let read = read(dir.path()).unwrap();
        assert_eq!(
            read.into_iter().collect::<Vec<_>>(),
            [
                ("A".to_owned(), "b c\n'd'".to_owned()),
                ("EMPTY".to_owned(), String::new()),
                ("PORT".to_owned(), "4321".to_owned()),
            ]
        );
    }
}
