//! Python's libraries of protocols, as independent visitors and as apps (`tests/setup` installs them).

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Project;

/// Where they are.
pub struct Tools {
    python: PathBuf,
    packages: PathBuf,
}

impl Tools {
    /// `None`, loudly, on a machine without them.
    pub fn find() -> Option<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/visitor-tools");
        let python = root.join("bin/python");
        let versions = std::fs::read_dir(root.join("lib")).ok();
        let packages = versions.and_then(|mut found| Some(found.next()?.ok()?.path().join("site-packages")));
        let packages = packages.filter(|packages| packages.join("wsproto").exists() && python.exists());
        if packages.is_none() {
            println!("SKIPPED: grpcio, h2, websockets and wsproto are not installed (tests/setup does)");
        }
        Some(Self { python, packages: packages? })
    }

    /// Puts packages into a project, below `lib/`.
    pub fn carry(&self, project: &Project, names: &[&str]) {
        let lib = project.path().join("lib");
        std::fs::create_dir_all(&lib).expect("lib");
        for name in names {
            let copied = Command::new("cp").arg("-r").args([&self.packages.join(name), &lib]).status();
            assert!(copied.expect("cp").success(), "{name}");
        }
    }

    /// Runs a script that fails when something is not as it should be; what it prints.
    #[track_caller]
    pub fn run(&self, script: &str, args: &[&str]) -> String {
        let ran = Command::new(&self.python).args(["-c", script]).args(args).output().expect("python");
        let (out, errors) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert!(ran.status.success(), "{out}{errors}");
        out.into_owned()
    }
}
