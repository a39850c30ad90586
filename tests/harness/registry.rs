//! A registry of images on loopback (Debian's `docker-registry`), and images small enough to be made in a moment.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A running registry; it ends with this.
pub struct Registry {
    child: Child,
    address: String,
    folder: TempDir,
}

impl Registry {
    /// `None`, loudly, on a machine without it.
    pub fn start() -> Option<Self> {
        Self::begin(tempfile::tempdir().expect("folder"), "")
    }

    /// One that lets nobody in but this user.
    pub fn locked(user: &str, password: &str) -> Option<Self> {
        let folder = tempfile::tempdir().expect("folder");
        // As `htpasswd -B` writes it.
        let hash = "print crypt($ARGV[0], q($2y$05$abcdefghijklmnopqrstuu))";
        let hashed = Command::new("perl").args(["-e", hash, password]).output().expect("perl");
        let file = folder.path().join("htpasswd");
        std::fs::write(&file, format!("{user}:{}\n", String::from_utf8_lossy(&hashed.stdout))).expect("htpasswd");
        let auth = format!("auth: {{htpasswd: {{realm: tests, path: {file:?}}}}}\n");
        let registry = Self::begin(folder, &auth)?;
        let login = ["login", "--username", user, "--password", password, registry.address()];
        registry.docker(&login);
        Some(registry)
    }

    fn begin(folder: TempDir, more: &str) -> Option<Self> {
        let config = folder.path().join("config.yml");
        let data = folder.path().join("data");
        let text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {:?}}}}}\nhttp: {{addr: \"127.0.0.1:0\"}}\n{more}",
            data.to_str().expect("utf-8")
        );
        std::fs::write(&config, text).expect("config");
        let mut command = Command::new("docker-registry");
        let started = command.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let Ok(mut child) = started else {
            println!("SKIPPED: docker-registry is not installed (tests/setup does)");
            return None;
        };
        let mut lines = BufReader::new(child.stderr.take().expect("stderr")).lines().map_while(Result::ok);
        let address = lines.find_map(|line| {
            let (_, rest) = line.split_once("listening on ")?;
            rest.split('"').next().map(str::to_owned)
        });
        // It goes on to log each request; nobody may let that pipe fill.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self { child, address: address.expect("the registry listens"), folder })
    }

    /// Its host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `docker ARGS`, signed in as only this registry knows.
    fn docker(&self, args: &[&str]) -> String {
        let config = self.folder.path().join("docker");
        docker(&[&["--config", config.to_str().expect("utf-8")], args].concat())
    }

    /// An image's name in it.
    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// Makes an image with these programs and a file `/version`, puts it into the registry under that name, and forgets it
    /// on the daemon; its digest.
    pub fn push(&self, name: &str, programs: &[&str], version: &str) -> String {
        let image = self.image(name);
        make(&image, programs, version);
        let pushed = self.docker(&["push", &image]);
        docker(&["rmi", &image]);
        let digest = pushed.split_whitespace().find(|word| word.starts_with("sha256:"));
        digest.unwrap_or_else(|| panic!("no digest in {pushed}")).to_owned()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `docker ARGS`, which has to work; what it prints.
#[track_caller]
pub fn docker(args: &[&str]) -> String {
    let ran = Command::new("docker").args(args).output().expect("docker");
    assert!(ran.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8_lossy(&ran.stdout).into_owned()
}

/// A file system of this machine's bash with its libraries, and programs that do nothing.
fn make(image: &str, programs: &[&str], version: &str) {
    let root = tempfile::tempdir().expect("folder");
    let place = |name: &str| {
        let path = root.path().join(name);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
        path
    };
    std::fs::write(place("version"), version).expect("version");
    // Layers that are alike are not sent again.
    for program in programs {
        let path = place(&format!("usr/bin/{program}"));
        if *program == "bash" {
            std::fs::copy("/bin/bash", &path).expect("bash");
        } else {
            std::fs::write(&path, "#!/bin/bash\n").expect("program");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("mode");
        }
    }
    symlink("usr/bin", root.path().join("bin")).expect("link");
    for library in libraries() {
        std::fs::copy(&library, place(library.trim_start_matches('/'))).expect("library");
    }
    for folder in ["app", "tmp", "proc", "sys", "dev", "etc"] {
        std::fs::create_dir_all(root.path().join(folder)).expect("folder");
    }
    import(root.path(), image);
}

fn libraries() -> Vec<String> {
    let listed = Command::new("ldd").arg("/bin/bash").output().expect("ldd");
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    text.split_whitespace().filter(|word| word.starts_with('/')).map(str::to_owned).collect()
}

fn import(root: &Path, image: &str) {
    let tar = Command::new("tar").arg("-C").arg(root).args(["-c", "."]).output().expect("tar");
    let mut import = Command::new("docker");
    let mut child =
        import.args(["import", "-", image]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("import");
    child.stdin.take().expect("stdin").write_all(&tar.stdout).expect("archive");
    assert!(child.wait().expect("import").success());
}
