//! A bubblewrap argument vector, typed.
//!
//! Whatever is built here has namespaces of its own (user, pid, ipc, uts, cgroup), no capabilities, no controlling
//! terminal, an empty environment and a file system that holds only what was bound into it. The network is the
//! machine's own. Order matters to bubblewrap: a later mount lies on top of an earlier one.
//!
//! Deliberately absent: limits (the cgroup's and `enter`'s), and secrets. An argument vector is readable by every
//! process of the machine, so [`Bubblewrap::setenv`] is for names and paths; secrets go through a file or through the
//! environment of the command.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Parts of the system that live outside `/usr` on some distributions and are links into it on others.
const ROOT_FOLDERS: &[&str] = &["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/// What of `/etc` programs need: name resolution, certificates, the linker's and Debian's alternatives. Nothing of
/// users, services or hosts of the machine.
const ETC: &[&str] = &[
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/ca-certificates.conf",
    "/etc/debian_version",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/locale.alias",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/pki",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/timezone",
];

/// Parts of `/proc` through which the user who owns them can change the machine, capabilities or not. A server that runs
/// as root *is* that user outside, whoever the process is inside (`core_pattern` would be its way out), and bubblewrap
/// takes them for read only because their folders are.
const PROC_READ_ONLY: &[&str] = &[
    "/proc/acpi",
    "/proc/bus",
    "/proc/driver",
    "/proc/dynamic_debug",
    "/proc/fs",
    "/proc/irq",
    "/proc/mtrr",
    "/proc/scsi",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Parts of `/proc` that tell its owner about other processes' memory and keys; a file that cannot be opened lies over them.
const PROC_HIDDEN: &[&str] = &[
    "/proc/kcore",
    "/proc/keys",
    "/proc/kpagecgroup",
    "/proc/kpagecount",
    "/proc/kpageflags",
    "/proc/sched_debug",
    "/proc/slabinfo",
    "/proc/timer_list",
];

/// The sandbox's description so far.
#[derive(Debug, Clone)]
pub struct Bubblewrap {
    args: Vec<OsString>,
}

impl Bubblewrap {
    /// The program, found on `PATH`. Version 0.8 or newer.
    pub const PROGRAM: &str = "bwrap";

    /// Everything unshared but the network, nothing bound, nobody able to make a user namespace inside.
    pub fn isolated() -> Self {
        let flags = [
            "--unshare-user",
            "--disable-userns",
            "--unshare-pid",
            "--unshare-ipc",
            "--unshare-uts",
            "--unshare-cgroup-try",
            "--new-session",
            "--clearenv",
        ];
        let args = flags.into_iter().map(OsString::from).collect();
        Self { args }.arg("--cap-drop").arg("ALL")
    }

    /// The machine's programs and libraries, read only, a fresh `/proc`, a minimal `/dev`.
    pub fn system(mut self) -> Self {
        self = self.ro_bind("/usr", "/usr");
        for folder in ROOT_FOLDERS {
            self = match fs::read_link(folder) {
                Ok(target) => self.symlink(target, folder),
                Err(_) => self.ro_bind_try(folder, folder),
            };
        }
        for path in ETC {
            // `resolv.conf` and `localtime` are often links to places that are not bound.
            if let Ok(real) = fs::canonicalize(path) {
                self = self.ro_bind(real, path);
            }
        }
        self = self.arg("--proc").arg("/proc").arg("--dev").arg("/dev");
        self = PROC_READ_ONLY.iter().fold(self, |all, path| all.ro_bind_try(path, path));
        let hidden = PROC_HIDDEN.iter().filter(|path| Path::new(path).exists());
        hidden.fold(self, |all, path| all.ro_bind("/dev/null", path))
    }

    /// Shows `from` at `to`, read only.
    pub fn ro_bind(self, from: impl AsRef<OsStr>, to: impl AsRef<OsStr>) -> Self {
        self.arg("--ro-bind").arg(from).arg(to)
    }

    /// As [`Self::ro_bind`], if `from` exists.
    pub fn ro_bind_try(self, from: impl AsRef<OsStr>, to: impl AsRef<OsStr>) -> Self {
        self.arg("--ro-bind-try").arg(from).arg(to)
    }

    /// Shows `from` at `to`, writable.
    pub fn bind(self, from: impl AsRef<OsStr>, to: impl AsRef<OsStr>) -> Self {
        self.arg("--bind").arg(from).arg(to)
    }

    /// An empty folder in memory, of at most `bytes`; what it holds counts as the cgroup's memory.
    pub fn tmpfs(self, to: impl AsRef<OsStr>, bytes: u64) -> Self {
        self.arg("--size").arg(bytes.to_string()).arg("--tmpfs").arg(to)
    }

    /// An empty folder on whatever lies there.
    pub fn dir(self, to: impl AsRef<OsStr>) -> Self {
        self.arg("--dir").arg(to)
    }

    /// A symbolic link at `to`.
    pub fn symlink(self, target: impl AsRef<OsStr>, to: impl AsRef<OsStr>) -> Self {
        self.arg("--symlink").arg(target).arg(to)
    }

    /// Makes the mount at `to` read only, without those below it. `/` last keeps a process from filling the root.
    pub fn remount_ro(self, to: impl AsRef<OsStr>) -> Self {
        self.arg("--remount-ro").arg(to)
    }

    /// A variable of the environment; not for secrets (see the module).
    pub fn setenv(self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.arg("--setenv").arg(name).arg(value)
    }

    /// Leaves the environment as the command has it instead of emptying it: the way secrets go. The caller clears the
    /// command's own environment and keeps out what would change bubblewrap itself (`LD_…`).
    pub fn keep_env(mut self) -> Self {
        self.args.retain(|arg| arg != "--clearenv");
        self
    }

    /// The folder it starts in.
    pub fn chdir(self, to: impl AsRef<OsStr>) -> Self {
        self.arg("--chdir").arg(to)
    }

    /// Who it is inside. Outside it stays who started it.
    pub fn identity(self, uid: u32, gid: u32) -> Self {
        self.arg("--uid").arg(uid.to_string()).arg("--gid").arg(gid.to_string())
    }

    /// Its host name.
    pub fn hostname(self, name: impl AsRef<OsStr>) -> Self {
        self.arg("--hostname").arg(name)
    }

    /// Everything inside is killed when the *thread* that started it ends (`PR_SET_PDEATHSIG`): start it from a
    /// thread that waits for it.
    pub fn die_with_parent(self) -> Self {
        self.arg("--die-with-parent")
    }

    /// Appends the description and what to run to a command that stands for [`Self::PROGRAM`] (perhaps entered).
    pub fn run_in(self, command: &mut Command, program: impl AsRef<OsStr>, args: impl IntoIterator<Item = OsString>) {
        command.args(self.args).arg("--").arg(program).args(args);
    }

    /// Where the program is, or what to do about its absence.
    pub fn find() -> Result<PathBuf, String> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .map(|folder| folder.join(Self::PROGRAM))
            .find(|file| Path::is_file(file))
            .ok_or_else(|| {
                "bubblewrap is not installed: no `bwrap` on PATH; install the package `bubblewrap` (0.8 or newer)"
                    .to_owned()
            })
    }

    fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(sandbox: Bubblewrap, script: &str) -> String {
        let mut command = Command::new(Bubblewrap::find().expect("bwrap is needed for this test"));
        command.env("SECRET_OF_THE_SERVER", "leaked");
        sandbox.run_in(&mut command, "/bin/sh", ["-c".into(), script.into()]);
        let output = command.output().expect("bwrap starts");
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    #[test]
    fn nothing_of_the_machine_shows_but_its_programs() {
        let sandbox = Bubblewrap::isolated().system().identity(1000, 1000).die_with_parent().remount_ro("/");
        let script = r#"id -u; ls -d /proc/[0-9]* | wc -l; env; ls /; touch /x; grep CapEff /proc/self/status
            cat /proc/sys/kernel/core_pattern >/proc/sys/kernel/core_pattern && echo the machine was changed
            for file in $(find /proc -maxdepth 4 -type f -writable -not -path '/proc/[0-9]*' -not -path '/proc/*self/*'); do
                test -f $file && echo writable: $file
            done
            cat /proc/keys /proc/kpagecount"#;
        let seen = run(sandbox, script);
        assert!(seen.starts_with("1000\n"), "{seen}");
        assert!(seen.lines().nth(1).and_then(|n| n.trim().parse::<u32>().ok()).is_some_and(|n| n < 8), "{seen}");
        assert!(!seen.contains("leaked") && !seen.lines().any(|line| line == "root" || line == "home"), "{seen}");
        assert!(seen.contains("Read-only file system"), "{seen}");
        assert!(!seen.contains("the machine was changed"), "{seen}");
        let writable: Vec<_> = seen.lines().filter_map(|line| line.strip_prefix("writable: ")).collect();
        assert!(writable.iter().all(|file| file.starts_with("/proc/pressure/")), "{writable:?}");
        assert_eq!(seen.matches("Permission denied").count(), 2, "{seen}");
        assert!(seen.contains("CapEff:\t0000000000000000"), "{seen}");
    }

    #[test]
    fn binds_lie_where_they_are_told() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("note"), "here").unwrap();
        let sandbox = Bubblewrap::isolated()
            .system()
            .ro_bind(folder.path(), "/ro")
            .bind(folder.path(), "/rw")
            .tmpfs("/tmp", 1 << 20)
            .symlink("/rw", "/link")
            .setenv("WHO", "me")
            .hostname("inside")
            .chdir("/rw");
        let seen = run(
            sandbox,
            "cat /ro/note; echo $WHO; uname -n; pwd; echo x > /ro/y; echo z > /link/z; head -c 2M /dev/zero > /tmp/big; \
             unshare -U true",
        );
        assert!(seen.starts_with("hereme\ninside\n/rw\n"), "{seen}");
        assert!(seen.contains("Read-only file system") && seen.contains("No space left"), "{seen}");
        assert!(seen.contains("unshare failed"), "a nested user namespace was allowed: {seen}");
        assert_eq!(fs::read_to_string(folder.path().join("z")).unwrap(), "z\n");
    }
}
