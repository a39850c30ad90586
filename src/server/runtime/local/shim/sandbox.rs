//! The command that runs a replica: `enter` → bubblewrap → the entrypoint → the Procfile line.
//!
//! The network is the machine's own: a network of its own would need root or a helper to be reachable. So a replica can
//! reach whatever listens on this machine's loopback; everything else is its own.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::server::confine::bubblewrap::Bubblewrap;
use crate::server::confine::cgroup::Cgroup;
use crate::server::confine::enter::Enter;

use super::super::folder::{self, Spec};
use super::super::variables;
use crate::server::runtime::directory;
use crate::server::runtime::spec::{self, FILES_FOLDER};

/// What else a replica can run of ours.
const TOOLS_FOLDER: &str = "tools";
/// A replica's epmd is not on its usual port here: whoever enters finds this one before the system's (`config/session`).
const FIRST: (&str, &str) = ("first/epmd", spec::RUN);
const ENTRYPOINT: &str = include_str!("../../../../../config/entrypoint");
const ENTRYPOINT_INSIDE: &str = "/run/gigalixir/entrypoint";
/// Who a replica is inside; outside it is whoever runs the server.
const UID: u32 = 1000;
/// Longer host names are refused by the kernel.
const HOSTNAME_MAX: usize = 64;

/// The command for one run in `dir`, whose `app` is unpacked. Its output goes to `output`.
pub(super) fn command(dir: &Path, spec: &Spec, port: u16, output: io::PipeWriter) -> io::Result<Command> {
    furnish(dir, spec, port)?;
    let cgroup = (!spec.cgroup.is_empty()).then(|| Cgroup::at(spec.cgroup.clone()));
    let (limits, args_file) = (spec.rlimits(), variables::file(dir));
    let enter = Enter { cgroup: cgroup.as_ref(), rlimits: &limits, args_file: Some(&args_file) };
    let bubblewrap = Bubblewrap::find().map_err(io::Error::other)?;
    let mut command = enter.command(bubblewrap);
    let words = [ENTRYPOINT_INSIDE, &spec.command].into_iter().chain(spec.arguments.iter().map(String::as_str));
    let hostname: String = spec.name.chars().take(HOSTNAME_MAX).collect();
    let sandbox = Bubblewrap::isolated()
        .keep_env()
        .system()
        .ro_bind(dir.join(TOOLS_FOLDER), "/opt/gigalixir")
        .ro_bind(dir.join("etc/passwd"), "/etc/passwd")
        .ro_bind(dir.join("etc/group"), "/etc/group")
        .ro_bind(dir.join("etc/hosts"), "/etc/hosts")
        .ro_bind(dir.join("entrypoint"), ENTRYPOINT_INSIDE)
        .ro_bind(dir.join("kube-env-vars"), FILES_FOLDER)
        .bind(dir.join("app"), "/app")
        .bind(dir.join("tmp"), "/tmp")
        .dir("/var")
        .symlink("/tmp", "/var/tmp");
    let sandbox = match spec.directory {
        Some(_) => sandbox.ro_bind(dir.join("directory"), directory::INSIDE),
        None => sandbox,
    };
    sandbox.remount_ro("/").identity(UID, UID).hostname(hostname).chdir("/app").die_with_parent().run_in(
        &mut command,
        "/bin/bash",
        words.map(OsString::from),
    );
    command.env_clear().current_dir("/").stdin(Stdio::null()).stderr(output.try_clone()?).stdout(output);
    Ok(command)
}

/// Writes what the sandbox shows besides the slug, and the environment, which goes in through a file that nobody else
/// can read.
fn furnish(dir: &Path, spec: &Spec, port: u16) -> io::Result<()> {
    folder::remove_tree(&dir.join("tmp"))?;
    fs::create_dir(dir.join("tmp"))?;
    folder::make(&dir.join("etc"))?;
    fs::write(dir.join("etc/passwd"), format!("app:x:{UID}:{UID}::/app:/bin/bash\n"))?;
    fs::write(dir.join("etc/group"), format!("app:x:{UID}:\n"))?;
    let mut hosts = directory::machine_hosts();
    if let Some(membership) = &spec.directory {
        hosts.push_str(&membership.hosts(spec.ip()));
        membership.write(&dir.join("directory"))?;
    }
    fs::write(dir.join("etc/hosts"), hosts)?;
    fs::write(dir.join("entrypoint"), ENTRYPOINT)?;
    for folder in ["bin", "first"] {
        folder::make(&dir.join(TOOLS_FOLDER).join(folder))?;
    }
    for (name, text) in spec::TOOLS.into_iter().chain([FIRST]) {
        let file = dir.join(TOOLS_FOLDER).join(name);
        fs::write(&file, text)?;
        fs::set_permissions(&file, Permissions::from_mode(0o755))?;
    }
    let files = dir.join("kube-env-vars");
    folder::make(&files)?;
    for (name, text) in spec::files(&spec.env) {
        fs::write(files.join(name), text)?;
    }
    variables::write(dir, &spec.env, port)
}
