//! A slug into a fresh folder.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use flate2::read::GzDecoder;
use tar::Archive;

use super::super::folder;

/// Replaces `to` by what the archive holds. Nothing is written outside of `to`; set-id bits are dropped.
pub(super) fn unpack(slug: &Path, to: &Path) -> io::Result<()> {
    folder::remove_tree(to)?;
    fs::create_dir(to)?;
    let mut archive = Archive::new(GzDecoder::new(io::BufReader::with_capacity(64 * 1024, File::open(slug)?)));
    archive.set_mask(0o6022);
    archive.set_preserve_permissions(true);
    archive.set_overwrite(false);
    archive.unpack(to)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn slug(dir: &Path, fill: impl FnOnce(&mut tar::Builder<GzEncoder<File>>)) -> std::path::PathBuf {
        let path = dir.join("slug");
        let mut archive = tar::Builder::new(GzEncoder::new(File::create(&path).unwrap(), Compression::fast()));
        fill(&mut archive);
        archive.into_inner().unwrap().finish().unwrap();
        path
    }

    fn entry(archive: &mut tar::Builder<GzEncoder<File>>, name: &str, mode: u32, text: &str) {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(text.len() as u64);
        header.set_mode(mode);
        header.set_cksum();
        archive.append(&header, text.as_bytes()).unwrap();
    }

    #[test]
    fn the_folder_is_fresh_and_programs_stay_programs() {
        let dir = tempfile::tempdir().unwrap();
        let slug = slug(dir.path(), |archive| entry(archive, "bin/run", 0o4755, "x"));
        let app = dir.path().join("app");
        for _ in 0..2 {
            unpack(&slug, &app).unwrap();
            assert!(!app.join("leftover").exists());
            fs::write(app.join("leftover"), "x").unwrap();
        }
        let mode = fs::metadata(app.join("bin/run")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o755);
    }

    #[test]
    fn nothing_lands_outside() {
        let dir = tempfile::tempdir().unwrap();
        let slug = slug(dir.path(), |archive| {
            let mut link = tar::Header::new_gnu();
            link.set_entry_type(tar::EntryType::Symlink);
            link.set_size(0);
            archive.append_link(&mut link, "out", dir.path().join("victim")).unwrap();
            entry(archive, "../escaped", 0o644, "x");
            entry(archive, "/absolute", 0o644, "x");
            entry(archive, "out/x", 0o644, "x");
        });
        fs::create_dir(dir.path().join("victim")).unwrap();
        let _ = unpack(&slug, &dir.path().join("app"));
        assert!(!dir.path().join("escaped").exists());
        assert_eq!(fs::read_dir(dir.path().join("victim")).unwrap().count(), 0);
    }
}
