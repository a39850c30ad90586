//! One run of all packs in one sandbox: what it sees, and what its end means. Inside, everything lies where Heroku's
//! builds have it: the tree at `/app`, `/tmp/cache`, `/tmp/env`, `/tmp/buildpacks/N`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tempfile::TempDir;
use uuid::Uuid;

use super::buildpacks::PackRef;
use super::builtin::Builtin;
use super::error::BuildError;
use super::sandbox::{Bounds, Ending, Folder, Job};
use super::{BuildRequest, BuilderConfig, tree};

/// The temporary folders of one build, removed when dropped.
pub(super) struct Workspace {
    dir: TempDir,
}

impl Workspace {
    /// Makes them below `parent`, readable by us alone, with a file for each variable: secrets are in no argument
    /// vector and in no environment that others could read.
    pub(super) fn make(parent: &Path, env: &BTreeMap<String, String>) -> Result<Self, BuildError> {
        let made = || {
            let dir = tempfile::tempdir_in(parent)?;
            for name in ["tmp", "env", "packs", "result"] {
                fs::create_dir(dir.path().join(name))?;
            }
            for (name, value) in env {
                if name.contains(['/', '\0']) || matches!(name.as_str(), "" | "." | "..") {
                    return Err(io::Error::other("a variable's name is no name of a file"));
                }
                fs::write(dir.path().join("env").join(name), value)?;
            }
            // Some packs have the folder's older name built in.
            std::os::unix::fs::symlink("/app", dir.path().join("tmp/build"))?;
            Ok(Self { dir })
        };
        made().map_err(BuildError::io("preparing the build"))
    }

    /// Where pack `number` (from 1) goes.
    pub(super) fn pack(&self, number: usize) -> PathBuf {
        self.folder("packs").join(number.to_string())
    }

    /// Where the driver leaves its notes.
    pub(super) fn result(&self) -> PathBuf {
        self.folder("result")
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// How the names of this builder's jobs begin: several servers may share a machine.
pub(super) fn prefix(config: &BuilderConfig) -> String {
    let digest = hex::encode(Sha256::digest(config.dir.as_os_str().as_encoded_bytes()));
    format!("build-{}-", digest.get(..8).unwrap_or_default())
}

/// The driver's job.
pub(super) fn job(
    request: &BuildRequest,
    packs: usize,
    workspace: &Workspace,
    builtin: &Builtin,
    config: &BuilderConfig,
) -> Job {
    let folder = |host: PathBuf, inside: &str, writable| Folder { host, inside: inside.to_owned(), writable };
    let mut env = vec![
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("HOME", "/app"),
        ("LANG", "C.UTF-8"),
        ("LC_ALL", "C.UTF-8"),
        ("STACK", request.stack.as_str()),
    ];
    if request.clean {
        env.push(("GIGALIXIR_SHOULD_CLEAN_CACHE", "True"));
    }
    if let Some(mirror) = &config.elixir_mirror {
        env.push(("GIGALIXIR_ELIXIR_MIRROR", mirror.as_str()));
    }
    Job {
        name: format!("{}{}-{}", prefix(config), request.app, Uuid::new_v4().simple()),
        stack: request.stack.clone(),
        program: "/tmp/driver".to_owned(),
        args: vec![packs.to_string()],
        env: env.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        folders: vec![
            folder(builtin.file("passwd"), "/etc/passwd", false),
            folder(builtin.file("group"), "/etc/group", false),
            folder(request.source.clone(), "/app", true),
            folder(workspace.folder("tmp"), "/tmp", true),
            folder(builtin.file("driver"), "/tmp/driver", false),
            folder(request.cache.clone(), "/tmp/cache", true),
            folder(workspace.folder("env"), "/tmp/env", false),
            folder(workspace.folder("packs"), "/tmp/buildpacks", true),
            folder(workspace.result(), "/tmp/result", true),
        ],
        workdir: "/app".to_owned(),
        bounds: config.bounds,
    }
}

/// What the driver's end means.
pub(super) fn verdict(
    ending: Ending,
    packs: &[PackRef],
    workspace: &Workspace,
    bounds: Bounds,
) -> Result<(), BuildError> {
    let code = match ending {
        Ending::Cancelled => return Err(BuildError::Cancelled),
        Ending::Hit(bound) => return Err(BuildError::Bound { bound, bounds }),
        Ending::Exited(code) => code,
    };
    let note = tree::read(&workspace.result(), "stage", 100).map_err(BuildError::io("reading the build's stage"))?;
    let note = note.unwrap_or_default();
    let (stage, number) = note.trim().split_once(' ').unwrap_or((note.trim(), ""));
    let pack = number.parse().ok().and_then(|number: usize| packs.get(number.checked_sub(1)?)).map(ToString::to_string);
    match (stage, pack) {
        ("done", None) if code == 0 => Ok(()),
        ("detect", Some(pack)) => Err(BuildError::Detect { pack }),
        ("compile" | "release", Some(pack)) => Err(BuildError::Pack { pack, stage: stage.to_owned(), code }),
        _ => Err(BuildError::Unavailable(format!("the build could not be started (exit code {code}); see above"))),
    }
}
