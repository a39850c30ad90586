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

use super::super::directory;
use super::super::folder::{self, Spec};
use super::super::variables;

/// What else a replica can run of ours: `name in its folder, text`.
const TOOLS: [(&str, &str); 2] = [
    ("gigalixir_run", include_str!("../../../../../config/gigalixir_run")),
    ("migrate.exs", include_str!("../../../../../config/migrate.exs")),
];
/// The one script goes by several names.
const TOOLS_INSIDE: [(&str, &str); 5] = [
    ("gigalixir_run", "/opt/gigalixir/first/epmd"),
    ("gigalixir_run", "/opt/gigalixir/bin/gigalixir_run"),
    ("gigalixir_run", "/opt/gigalixir/bin/epmd"),
    ("gigalixir_run", "/opt/gigalixir/run-cmd"),
    ("migrate.exs", "/opt/gigalixir/migrate.exs"),
];
/// Variables that are files below `/kube-env-vars` too, as older clients look for them, and what they are called here.
const FILES: [(&str, &str); 7] = [
    ("MY_POD_IP", "MY_POD_IP"),
    ("ERLANG_COOKIE", "ERLANG_COOKIE"),
    ("REPO", "APP_NAME"),
    ("APP", "GIGALIXIR_APP_NAME"),
    ("APP_KEY", "APP_KEY"),
    ("LOGPLEX_TOKEN", "LOGPLEX_TOKEN"),
    ("SECRET_KEY_BASE", "SECRET_KEY_BASE"),
];
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
    let tools = TOOLS_INSIDE
        .iter()
        .fold(Bubblewrap::isolated().keep_env().system(), |all, (name, inside)| all.ro_bind(dir.join(name), inside));
    let sandbox = tools
        .ro_bind(dir.join("etc/passwd"), "/etc/passwd")
        .ro_bind(dir.join("etc/group"), "/etc/group")
        .ro_bind(dir.join("etc/hosts"), "/etc/hosts")
        .ro_bind(dir.join("entrypoint"), ENTRYPOINT_INSIDE)
        .ro_bind(dir.join("kube-env-vars"), "/kube-env-vars")
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
    for (name, text) in TOOLS {
        fs::write(dir.join(name), text)?;
        fs::set_permissions(dir.join(name), Permissions::from_mode(0o755))?;
    }
    let files = dir.join("kube-env-vars");
    folder::make(&files)?;
    for (name, variable) in FILES {
        fs::write(files.join(name), spec.env.get(variable).map(String::as_str).unwrap_or_default())?;
    }
    variables::write(dir, &spec.env, port)
}
