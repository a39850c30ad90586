//! Docker for tests: a daemon, and the image of the stack `debian-12`, made by `stacks:build` if need be. The unit tests
//! of the builder have this file too.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Output};

/// The daemon.
pub const SOCKET: &str = "/var/run/docker.sock";
/// The stack itself, but for its image's name.
const STACK: &str = include_str!("../../config/stacks/debian-12.toml");

/// The stack's image under a name that no server takes for its own; another recipe, another name.
pub fn image() -> String {
    format!("gigalixir/debian-12:test-{}", digest(STACK.as_bytes()))
}

/// The stack's file.
pub fn stack() -> String {
    STACK.replace("\"gigalixir/debian-12\"", &format!("\"{}\"", image()))
}

fn digest(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    hex::encode(&sha2::Sha256::digest(bytes)[..4])
}

fn docker(args: &[&str]) -> Output {
    Command::new("docker").args(args).output().expect("the `docker` command")
}

/// Whether there is a Docker with the image; says SKIPPED if not. One test at a time makes it, with this program.
pub fn is_there(gigalixir: &Path) -> bool {
    let answers = Command::new("docker").arg("info").output().is_ok_and(|ran| ran.status.success());
    if !answers {
        println!("SKIPPED: there is no Docker daemon");
        return false;
    }
    let lock = File::create(std::env::temp_dir().join("gigalixir-test-image.lock")).expect("a lock");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("the lock");
    if docker(&["image", "inspect", &image()]).status.success() {
        return true;
    }
    let stacks = tempfile::tempdir().expect("a folder");
    std::fs::write(stacks.path().join("debian-12.toml"), stack()).expect("the stack's file");
    let ran = Command::new(gigalixir).args(["stacks:build", "debian-12", "--stacks-dir"]).arg(stacks.path()).output();
    let ran = ran.expect("`gigalixir stacks:build`");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    true
}

/// The label of the server whose Docker folder this is (`DATA/docker`).
pub fn server(folder: &Path) -> String {
    // It need not be there: builds alone leave none.
    let dir = folder.parent().and_then(|data| Some(data.canonicalize().ok()?.join(folder.file_name()?)));
    digest(dir.unwrap_or_default().as_os_str().as_encoded_bytes())
}

/// The ids of a server's containers.
pub fn containers(server: &str) -> Vec<String> {
    ids(&["ps", "-aq", "--no-trunc"], server)
}

fn ids(list: &[&str], server: &str) -> Vec<String> {
    let filter = format!("label=gigalixir.server={server}");
    let found = docker(&[list, &["--filter", &filter]].concat());
    String::from_utf8_lossy(&found.stdout).split_whitespace().map(str::to_owned).collect()
}

/// Removes all that a server left on the daemon.
pub fn sweep(server: &str) {
    for id in containers(server) {
        docker(&["rm", "-f", "-v", &id]);
    }
    for id in ids(&["network", "ls", "-q"], server) {
        docker(&["network", "rm", &id]);
    }
}
