//! The command that runs a replica: `enter` → bubblewrap → the entrypoint → the Procfile line.
//!
//! The network is the machine's own: a network of its own would need root or a helper to be reachable. So a replica can
//! reach whatever listens on this machine's loopback; everything else is its own.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::server::confine::bubblewrap::Bubblewrap;
use crate::server::confine::cgroup::Cgroup;
use crate::server::confine::enter::{Enter, Limit};

use super::super::directory;
use super::super::folder::{self, Spec};

const ENTRYPOINT: &str = include_str!("../../../../../config/entrypoint");
const ENTRYPOINT_INSIDE: &str = "/run/gigalixir/entrypoint";
/// Who a replica is inside; outside it is whoever runs the server.
const UID: u32 = 1000;
/// Longer host names are refused by the kernel.
const HOSTNAME_MAX: usize = 64;
const OPEN_FILES: u64 = 65_536;

/// The command for one run in `dir`, whose `app` is unpacked. Its output goes to `output`.
pub(super) fn command(dir: &Path, spec: &Spec, port: u16, output: io::PipeWriter) -> io::Result<Command> {
    furnish(dir, spec, port)?;
    let mut limits = vec![(Limit::Core, 0), (Limit::OpenFiles, OPEN_FILES)];
    let cgroup = (!spec.cgroup.is_empty()).then(|| Cgroup::at(spec.cgroup.clone()));
    if cgroup.is_none() {
        limits.extend(spec.limits.memory_bytes.map(|bytes| (Limit::Data, bytes)));
    }
    let args_file = dir.join("args");
    let enter = Enter { cgroup: cgroup.as_ref(), rlimits: &limits, args_file: Some(&args_file) };
    let bubblewrap = Bubblewrap::find().map_err(io::Error::other)?;
    let mut command = enter.command(bubblewrap);
    let hostname: String = spec.name.chars().take(HOSTNAME_MAX).collect();
    let sandbox = Bubblewrap::isolated()
        .keep_env()
        .system()
        .ro_bind(dir.join("etc/passwd"), "/etc/passwd")
        .ro_bind(dir.join("etc/group"), "/etc/group")
        .ro_bind(dir.join("etc/hosts"), "/etc/hosts")
        .ro_bind(dir.join("entrypoint"), ENTRYPOINT_INSIDE)
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
        [OsString::from(ENTRYPOINT_INSIDE), OsString::from(&spec.command)],
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
    let port = port.to_string();
    let mut args = Vec::new();
    for (name, value) in &spec.env {
        let value = if name == "PORT" { &port } else { value };
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            continue;
        }
        for part in ["--setenv", name, value] {
            args.extend_from_slice(part.as_bytes());
            args.push(0);
        }
    }
    File::options().write(true).create(true).truncate(true).mode(0o600).open(dir.join("args"))?.write_all(&args)
}
