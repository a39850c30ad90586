//! Folders on their way into a pod and back.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use tokio::io::AsyncRead;
use tokio_util::io::SyncIoBridge;
use walkdir::WalkDir;

use super::inside;
use crate::server::builder::sandbox::Folder;

/// Folders as one archive.
pub(super) struct Packed {
    pub(super) file: tokio::fs::File,
    pub(super) bytes: u64,
}

/// What lies beside the volumes, by path.
type Files = Vec<(String, String)>;

/// Packs what lies in volumes, at its place; files beside them are told apart. The volumes themselves are there already.
pub(super) async fn pack(folders: &[Folder], volumes: &[String]) -> io::Result<(Packed, Files)> {
    let (folders, volumes) = (folders.to_vec(), volumes.to_vec());
    let packed = tokio::task::spawn_blocking(move || {
        let in_volume = |path: &str| volumes.iter().any(|volume| path == volume || inside(volume, path).is_some());
        let mut archive = tar::Builder::new(tempfile::tempfile()?);
        archive.follow_symlinks(false);
        archive.sparse(false);
        let mut files = Files::new();
        for folder in &folders {
            if in_volume(&folder.inside) {
                add(&mut archive, folder, volumes.contains(&folder.inside))?;
            } else {
                files.push((folder.inside.clone(), std::fs::read_to_string(&folder.host)?));
            }
        }
        Ok::<_, io::Error>((archive.into_inner()?, files))
    });
    let (mut file, files) = packed.await.map_err(io::Error::other)??;
    let bytes = io::Seek::stream_position(&mut file)?;
    io::Seek::rewind(&mut file)?;
    Ok((Packed { file: file.into(), bytes }, files))
}

/// Sockets and devices are left out: nobody could bring them anywhere.
fn add(archive: &mut tar::Builder<File>, folder: &Folder, is_volume: bool) -> io::Result<()> {
    let at = Path::new(folder.inside.trim_start_matches('/'));
    for entry in WalkDir::new(&folder.host).min_depth(usize::from(is_volume)) {
        let entry = entry?;
        let kind = entry.file_type();
        if !(kind.is_dir() || kind.is_file() || kind.is_symlink()) {
            continue;
        }
        let below = entry.path().strip_prefix(&folder.host).map_err(io::Error::other)?;
        let name = if below == Path::new("") { at.to_owned() } else { at.join(below) };
        archive.append_path_with_name(entry.path(), name)?;
    }
    Ok(())
}

/// Puts an archive's files in the place of what a folder holds; its bytes, or `None` if there are more than `most`. What an
/// archive names outside of the folder, by whatever way, is not written; pipes and devices become empty files.
pub(super) async fn unpack(
    archive: Box<dyn AsyncRead + Send + Unpin>,
    folder: &Path,
    most: u64,
) -> io::Result<Option<u64>> {
    let (folder, handle) = (folder.to_owned(), tokio::runtime::Handle::current());
    let work = move || {
        let parent = folder.parent().ok_or_else(|| io::Error::other("it is no folder of a job"))?;
        let new = tempfile::tempdir_in(parent)?;
        let mut counted = Counted { inner: SyncIoBridge::new_with_handle(archive, handle), left: most };
        let unpacked = tar::Archive::new(&mut counted).unpack(new.path());
        // What comes after the archive's end is read too: whoever writes it waits for that.
        let unpacked = unpacked.and_then(|()| io::copy(&mut counted, &mut io::sink()));
        match (unpacked, counted.left) {
            (Err(_), 0) => return Ok(None),
            (Err(error), _) => return Err(error),
            (Ok(_), _) => {}
        }
        std::fs::set_permissions(new.path(), std::fs::metadata(&folder)?.permissions())?;
        std::fs::remove_dir_all(&folder)?;
        std::fs::rename(new.keep(), &folder)?;
        Ok(Some(most - counted.left))
    };
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Reads so much, and fails when there is more.
struct Counted<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => {
                self.left = 0;
                return Err(io::Error::other("there is more of it than there may be"));
            }
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
    use std::process::Command;

    use tokio::io::AsyncReadExt as _;

    use super::*;

    fn folder(host: &Path, inside: &str, writable: bool) -> Folder {
        Folder { host: host.to_owned(), inside: inside.to_owned(), writable }
    }

    #[tokio::test]
    async fn folders_go_and_come_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["app/bin", "tmp", "cache"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        std::fs::write(at("app/bin/run"), "run").unwrap();
        std::fs::set_permissions(at("app/bin/run"), std::fs::Permissions::from_mode(0o755)).unwrap();
        symlink("/app", at("tmp/build")).unwrap();
        std::fs::write(at("cache/kept"), "kept").unwrap();
        std::fs::write(at("driver"), "driver").unwrap();
        std::fs::write(at("passwd"), "me").unwrap();
        let folders = [
            folder(&at("passwd"), "/etc/passwd", false),
            folder(&at("app"), "/app", true),
            folder(&at("tmp"), "/tmp", true),
            folder(&at("driver"), "/tmp/driver", false),
            folder(&at("cache"), "/tmp/cache", true),
        ];
        let volumes = super::super::volumes(&folders);
        assert_eq!(volumes, ["/app", "/tmp"]);
        let (mut packed, files) = pack(&folders, &volumes).await.unwrap();
        assert_eq!(files, [("/etc/passwd".to_owned(), "me".to_owned())]);
        let mut bytes = Vec::new();
        packed.file.read_to_end(&mut bytes).await.unwrap();
        assert_eq!(bytes.len() as u64, packed.bytes);
        let pod = at("pod");
        std::fs::create_dir(&pod).unwrap();
        tar::Archive::new(bytes.as_slice()).unpack(&pod).unwrap();
        assert_eq!(std::fs::read_to_string(pod.join("tmp/cache/kept")).unwrap(), "kept");
        assert_eq!(std::fs::read_link(pod.join("tmp/build")).unwrap(), Path::new("/app"));

        std::fs::write(pod.join("tmp/cache/new"), "new").unwrap();
        std::fs::remove_file(pod.join("tmp/cache/kept")).unwrap();
        let tar = |args: &[&str]| Command::new("tar").arg("-C").arg(&pod).args(args).output().unwrap().stdout;
        let back = tar(&["-c", "-C", pod.join("tmp/cache").to_str().unwrap(), "."]);
        let size = back.len() as u64;
        let mode = std::fs::metadata(at("cache")).unwrap().mode();
        let came = unpack(Box::new(io::Cursor::new(back.clone())), &at("cache"), 1 << 20).await.unwrap();
        assert_eq!(came, Some(size));
        assert_eq!(std::fs::metadata(at("cache")).unwrap().mode(), mode);
        assert!(at("cache/new").exists() && !at("cache/kept").exists());
        let too_much = unpack(Box::new(io::Cursor::new(back)), &at("cache"), size - 1).await.unwrap();
        assert!(too_much.is_none() && at("cache/new").exists(), "what was there stays");
    }

    #[tokio::test]
    async fn an_archive_does_not_leave_its_folder() {
        let dir = tempfile::tempdir().unwrap();
        let (outside, folder) = (dir.path().join("outside"), dir.path().join("folder"));
        for one in [&outside, &folder] {
            std::fs::create_dir(one).unwrap();
        }
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        archive.append_link(&mut header, "way", &outside).unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_size(4);
        header.set_mode(0o644);
        archive.append_data(&mut header, "way/evil", &b"evil"[..]).unwrap();
        let bytes = archive.into_inner().unwrap();
        assert!(unpack(Box::new(io::Cursor::new(bytes)), &folder, 1 << 20).await.is_err());
        assert!(!outside.join("evil").exists());
    }
}
