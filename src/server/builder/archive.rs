//! Writing a folder as a slug: a `.tar.gz` whose bytes depend on nothing but names, modes, links and contents, hashed
//! while it is written. No owner, no time, no order of a directory ever shows. Pipes, sockets and devices are left out.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use flate2::{Compression, GzBuilder};
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use sha2::{Digest, Sha256};
use tar::{EntryType, Header};
use tokio_util::sync::CancellationToken;
use walkdir::{DirEntry, WalkDir};

use super::error::BuildError;
use crate::server::domain::SlugDigest;

/// The time of every entry, 2000-01-01: not 0, which some unpackers take for "unknown".
const MTIME: u64 = 946_684_800;

/// How large a slug may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Bytes of the archive.
    pub(super) packed: u64,
    /// Bytes of all files in it.
    pub(super) unpacked: u64,
}

/// Writes `root` without `.git` and what `ignored` names to a new file `to`; returns its digest and size.
pub(super) fn write(
    root: &Path,
    ignored: &Gitignore,
    to: &Path,
    sizes: Sizes,
    cancelled: &CancellationToken,
) -> Result<(SlugDigest, u64), BuildError> {
    let file = BufWriter::with_capacity(256 * 1024, File::create_new(to).map_err(BuildError::io("writing the slug"))?);
    let digesting = Digesting::new(file, sizes.packed);
    let mut tar = tar::Builder::new(GzBuilder::new().mtime(0).write(digesting, Compression::fast()));
    let kept = |entry: &DirEntry| match entry.path().strip_prefix(root) {
        Ok(path) if path == Path::new(".git") => false,
        Ok(path) => path == Path::new("") || !ignored.matched(path, entry.file_type().is_dir()).is_ignore(),
        Err(_) => false,
    };
    let walk = WalkDir::new(root).min_depth(1).sort_by_file_name().into_iter().filter_entry(kept);
    let mut unpacked = 0;
    for entry in walk {
        if cancelled.is_cancelled() {
            return Err(BuildError::Cancelled);
        }
        let entry = entry.map_err(|error| BuildError::io("reading the built tree")(error.into()))?;
        unpacked += append(&mut tar, root, &entry).map_err(|error| too_large(error, sizes))?;
        if unpacked > sizes.unpacked {
            return Err(BuildError::SlugTooLarge { limit: sizes.unpacked, unpacked: true });
        }
    }
    let gzip = tar.into_inner().map_err(|error| too_large(error, sizes))?;
    gzip.finish().and_then(Digesting::finish).map_err(|error| too_large(error, sizes))
}

/// The rules of a `.slugignore`, or of none.
pub(super) fn slugignore(text: Option<&str>) -> Result<Gitignore, BuildError> {
    let mut rules = GitignoreBuilder::new("");
    let refuse = |line: usize, error: &ignore::Error| BuildError::Slugignore { line, problem: error.to_string() };
    for (index, line) in text.unwrap_or_default().lines().enumerate() {
        rules.add_line(None, line).map_err(|error| refuse(index + 1, &error))?;
    }
    rules.build().map_err(|error| refuse(0, &error))
}

/// Appends one entry; returns the bytes of its contents.
fn append<W: Write>(tar: &mut tar::Builder<W>, root: &Path, entry: &DirEntry) -> io::Result<u64> {
    let path = entry.path().strip_prefix(root).map_err(io::Error::other)?;
    let metadata = entry.metadata()?;
    let mut header = Header::new_gnu();
    header.set_mtime(MTIME);
    header.set_mode(metadata.permissions().mode() & 0o777);
    header.set_size(0);
    let kind = metadata.file_type();
    if kind.is_dir() {
        header.set_entry_type(EntryType::Directory);
        tar.append_data(&mut header, path, io::empty())?;
    } else if kind.is_symlink() {
        header.set_entry_type(EntryType::Symlink);
        header.set_mode(0o777);
        tar.append_link(&mut header, path, std::fs::read_link(entry.path())?)?;
    } else if kind.is_file() {
        header.set_size(metadata.len());
        tar.append_data(&mut header, path, File::open(entry.path())?)?;
        return Ok(metadata.len());
    }
    Ok(0)
}

fn too_large(error: io::Error, sizes: Sizes) -> BuildError {
    if error.kind() == io::ErrorKind::FileTooLarge {
        BuildError::SlugTooLarge { limit: sizes.packed, unpacked: false }
    } else {
        BuildError::io("writing the slug")(error)
    }
}

/// Hashes and counts what passes through, and refuses to let more than `limit` bytes pass.
pub(super) struct Digesting<T> {
    inner: T,
    hash: Sha256,
    bytes: u64,
    limit: u64,
}

impl<T> Digesting<T> {
    /// Around `inner`.
    pub(super) fn new(inner: T, limit: u64) -> Self {
        Self { inner, hash: Sha256::new(), bytes: 0, limit }
    }

    fn count(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.bytes += chunk.len() as u64;
        self.hash.update(chunk);
        if self.bytes > self.limit { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(()) }
    }

    /// What has passed.
    pub(super) fn digest(self) -> io::Result<(SlugDigest, u64)> {
        let digest = SlugDigest::parse(&hex::encode(self.hash.finalize())).map_err(io::Error::other)?;
        Ok((digest, self.bytes))
    }
}

impl<W: Write> Digesting<W> {
    fn finish(mut self) -> io::Result<(SlugDigest, u64)> {
        self.inner.flush()?;
        self.digest()
    }
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, chunk: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(chunk)?;
        self.count(chunk.get(..written).unwrap_or_default())?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: io::Read> io::Read for Digesting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count(buffer.get(..read).unwrap_or_default())?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    const SIZES: Sizes = Sizes { packed: 1 << 20, unpacked: 1 << 20 };

    fn tree(names: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for name in names {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, name).unwrap();
        }
        root
    }

    fn pack(root: &Path, rules: Option<&str>, sizes: Sizes) -> Result<(SlugDigest, Vec<u8>), BuildError> {
        let out = tempfile::tempdir().unwrap();
        let to = out.path().join("slug");
        let (digest, size) = write(root, &slugignore(rules)?, &to, sizes, &CancellationToken::new())?;
        let bytes = fs::read(to).unwrap();
        assert_eq!((bytes.len() as u64, digest.as_str()), (size, hex::encode(Sha256::digest(&bytes)).as_str()));
        Ok((digest, bytes))
    }

    fn entries(bytes: &[u8]) -> BTreeMap<String, (u32, String)> {
        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(bytes));
        let entry = |entry: io::Result<tar::Entry<'_, _>>| {
            let entry = entry.unwrap();
            let link = entry.link_name().unwrap().map(|link| link.display().to_string()).unwrap_or_default();
            (entry.path().unwrap().display().to_string(), (entry.header().mode().unwrap(), link))
        };
        tar.entries().unwrap().map(entry).collect()
    }

    #[test]
    fn the_same_tree_gives_the_same_digest() {
        let one = tree(&["b/x", "a", "b/c/y", "z"]);
        let two = tree(&["z", "b/c/y", "b/x", "a"]);
        let old = fs::File::open(two.path().join("a")).unwrap();
        old.set_modified(std::time::UNIX_EPOCH).unwrap();
        for root in [&one, &two] {
            symlink("b/x", root.path().join("link")).unwrap();
            fs::set_permissions(root.path().join("z"), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let (digest, bytes) = pack(one.path(), None, SIZES).unwrap();
        assert_eq!(digest, pack(two.path(), None, SIZES).unwrap().0);
        let entries = entries(&bytes);
        assert_eq!(
            entries.keys().map(String::as_str).collect::<Vec<_>>(),
            ["a", "b", "b/c", "b/c/y", "b/x", "link", "z"]
        );
        assert_eq!((entries["z"].0, entries["link"].1.as_str()), (0o755, "b/x"));
        fs::write(two.path().join("a"), "A").unwrap();
        assert_ne!(digest, pack(two.path(), None, SIZES).unwrap().0);
    }

    #[test]
    fn ignored_files_and_pipes_stay_out() {
        let root = tree(&[".git/HEAD", "a.log", "doc/x", "keep.log", "src/a.log", "src/doc/x", "src/.git/HEAD"]);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            root.path().join("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        let (_, bytes) = pack(root.path(), Some("# big\n*.log\n!keep.log\n/doc\n"), SIZES).unwrap();
        let names: Vec<_> = entries(&bytes).into_keys().collect();
        assert_eq!(names, ["keep.log", "src", "src/.git", "src/.git/HEAD", "src/doc", "src/doc/x"]);
        assert!(matches!(pack(root.path(), Some("ok\n{a"), SIZES), Err(BuildError::Slugignore { line: 2, .. })));
    }

    #[test]
    fn long_names_and_bounds() {
        let long = format!("{}/{}", "d".repeat(200), "f".repeat(200));
        let root = tree(&[&long]);
        let (_, bytes) = pack(root.path(), None, SIZES).unwrap();
        assert!(entries(&bytes).contains_key(&long));
        let zeros = fs::File::create(root.path().join("zeros")).unwrap();
        zeros.set_len(2 << 20).unwrap();
        let refused = |sizes| pack(root.path(), None, sizes).unwrap_err();
        assert!(matches!(refused(SIZES), BuildError::SlugTooLarge { unpacked: true, .. }));
        let narrow = Sizes { packed: 100, unpacked: 1 << 30 };
        assert!(matches!(refused(narrow), BuildError::SlugTooLarge { limit: 100, unpacked: false }));
    }
}
