//! Reading files that an app's code has written. Such a file may be a link to anywhere, a pipe that never ends, or
//! larger than memory; here it is none of these.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};

/// The text of the file `name` below `root`, or `None` when there is none: as [`read_bytes`].
///
/// # Errors
/// Those, and when it is not UTF-8.
pub(super) fn read(root: &Path, name: &str, max: u64) -> io::Result<Option<String>> {
    let text = read_bytes(root, name, max)?.map(String::from_utf8).transpose();
    text.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8"))
}

/// What is in the file `name` below `root`, or `None` when there is none. Links resolve as they would for a process
/// whose root folder is `root`.
///
/// # Errors
/// When it is no regular file or has more than `max` bytes.
pub fn read_bytes(root: &Path, name: &str, max: u64) -> io::Result<Option<Vec<u8>>> {
    let folder = rustix::fs::openat(CWD, root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    // Without NONBLOCK, opening a pipe would wait for its writer.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = match rustix::fs::openat2(&folder, name, flags, Mode::empty(), inside) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    if file.take(max + 1).read_to_end(&mut bytes)? as u64 > max {
        return Err(io::Error::other(format!("larger than {max} bytes")));
    }
    Ok(Some(bytes))
}

/// The names at the top of `root`, sorted; those that are not UTF-8 are left out.
pub(super) fn names(root: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root)? {
        names.extend(entry?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_do_not_lead_out_and_pipes_do_not_hang() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "secret").unwrap();
        let root = tempfile::tempdir().unwrap();
        let path = root.path();
        fs::write(path.join("real"), "text").unwrap();
        symlink("real", path.join("link")).unwrap();
        symlink("/real", path.join("absolute")).unwrap();
        symlink(outside.path().join("secret"), path.join("out")).unwrap();
        symlink("../../../../../../etc/hostname", path.join("up")).unwrap();
        rustix::fs::mknodat(CWD, path.join("pipe"), rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        for name in ["real", "link", "absolute"] {
            assert_eq!(read(path, name, 4).unwrap().as_deref(), Some("text"), "{name}");
        }
        for name in ["out", "up", "missing", "real/x"] {
            assert_eq!(read(path, name, 100).unwrap(), None, "{name}");
        }
        assert!(read(path, "pipe", 100).is_err());
        assert!(read(path, "real", 3).is_err());
    }
}
