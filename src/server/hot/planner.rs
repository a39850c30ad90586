//! From two slugs to a plan.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::server::beam::Term;
use crate::server::builder::{Bounds, Ending, Folder, Job, Sandbox, read_bytes};
use crate::server::domain::{Stack, UpgradePlan};
use crate::server::progress::Progress;
use crate::server::runtime::RuntimeError;
use crate::server::store::StoreError;

const PROGRAMS: &[(&str, &str)] = &[
    ("plan", include_str!("plan.bash")),
    ("release.erl", include_str!("release.erl")),
    ("appup.erl", include_str!("appup.erl")),
    ("refusals.erl", include_str!("refusals.erl")),
    ("plan.erl", include_str!("plan.erl")),
];
/// A plan is read from files; this is for a machine that is busy.
const TIME: Duration = Duration::from_mins(3);
const OUTPUT: u64 = 1 << 20;
/// Bytes of a plan; that of a thousand changed modules has a fifth of them.
const LARGEST: u64 = 1 << 20;

/// Compares releases. Cheap to clone.
#[derive(Clone)]
pub struct Planner {
    dir: PathBuf,
    sandbox: Arc<dyn Sandbox>,
    version: String,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The releases could not be read; what the program said.
    #[error("the two releases cannot be compared: {0}")]
    Failed(String),
    /// Nobody waits for it any more.
    #[error("cancelled")]
    Cancelled,
    /// A slug is not to be had.
    #[error(transparent)]
    Slug(#[from] RuntimeError),
    /// The database's refusal.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The machine's refusal.
    #[error("comparing two releases: {0}")]
    Io(#[from] io::Error),
}

impl Planner {
    /// Over a sandbox; `dir` is its own, for what passes.
    pub fn open(dir: PathBuf, sandbox: Arc<dyn Sandbox>) -> io::Result<Self> {
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        let programs = dir.join("programs");
        fs::create_dir_all(&programs)?;
        let mut hash = Sha256::new();
        for (name, text) in PROGRAMS {
            hash.update(text);
            fs::write(programs.join(name), text)?;
        }
        fs::set_permissions(programs.join("plan"), fs::Permissions::from_mode(0o755))?;
        Ok(Self { dir, sandbox, version: hex::encode(hash.finalize()) })
    }

    /// Another one for each version of the programs: plans of another version are made anew.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// How the release in the archive `old` becomes the one in `new`, both made for `stack`. `own` are the project's own applications: others
    /// are dependencies, whose processes nobody but their authors knows.
    pub async fn plan(
        &self,
        stack: &Stack,
        (old, new): (&Path, &Path),
        own: &str,
        progress: &Progress,
    ) -> Result<UpgradePlan, PlanError> {
        let workspace = tempfile::tempdir_in(&self.dir)?;
        let result = workspace.path().join("result");
        fs::create_dir(workspace.path().join("tmp"))?;
        fs::create_dir(&result)?;
        let (ear, heard) = ear();
        let silent = Progress::silent().overheard(ear);
        let ending = tokio::select! {
            ending = self.sandbox.run(self.job(stack, workspace.path(), (old, new), own), &silent) => ending,
            () = progress.cancelled().cancelled() => return Err(PlanError::Cancelled),
        };
        match ending.map_err(PlanError::Failed)? {
            Ending::Exited(0) => {}
            Ending::Cancelled => return Err(PlanError::Cancelled),
            Ending::Hit(bound) => return Err(PlanError::Failed(format!("it took more {bound:?} than it may"))),
            Ending::Exited(code) => {
                let said = heard.lock().unwrap_or_else(PoisonError::into_inner);
                let said = String::from_utf8_lossy(&said).trim().to_owned();
                return Err(PlanError::Failed(if said.is_empty() { format!("code {code}") } else { said }));
            }
        }
        tokio::task::spawn_blocking(move || read(workspace.path())).await.map_err(io::Error::other)?
    }

    fn job(&self, stack: &Stack, workspace: &Path, (old, new): (&Path, &Path), own: &str) -> Job {
        let folder =
            |host: &Path, inside: &str, writable| Folder { host: host.to_owned(), inside: inside.to_owned(), writable };
        let env = [
            ("PATH", "/usr/local/bin:/usr/bin:/bin"),
            ("HOME", "/tmp"),
            ("LC_ALL", "C.UTF-8"),
            // Few schedulers start sooner, and there is little to share out.
            ("ERL_FLAGS", "+S 2:2 +sbwt none"),
        ];
        Job {
            name: format!("plan-{}", Uuid::new_v4().simple()),
            stack: stack.clone(),
            program: "/tmp/plan/plan".to_owned(),
            args: vec![own.to_owned()],
            env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            folders: vec![
                folder(&workspace.join("tmp"), "/tmp", true),
                folder(&self.dir.join("programs"), "/tmp/plan", false),
                folder(old, "/tmp/old.tar.gz", false),
                folder(new, "/tmp/new.tar.gz", false),
                folder(&workspace.join("result"), "/tmp/result", true),
            ],
            workdir: "/tmp".to_owned(),
            bounds: Bounds { time: TIME, output_bytes: OUTPUT, ..Bounds::default() },
        }
    }
}

/// The plan below a workspace. The new release's own Erlang has run there, which its author may have replaced: what lies
/// in the plan's place can be anything.
fn read(workspace: &Path) -> Result<UpgradePlan, PlanError> {
    let failed = |error: &dyn std::fmt::Display| PlanError::Failed(error.to_string());
    let bytes = read_bytes(&workspace.join("result"), "plan", LARGEST).map_err(|error| failed(&error))?;
    let bytes = bytes.ok_or_else(|| failed(&"there is no plan"))?;
    let answer = Term::decode(&bytes).map_err(|error| failed(&error))?;
    serde_json::from_value(answer.to_json()).map_err(|error| failed(&error))
}

/// The last of what a job says.
fn ear() -> (crate::server::progress::Ear, Arc<Mutex<Vec<u8>>>) {
    const KEPT: usize = 4096;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let kept = heard.clone();
    let ear = Arc::new(move |chunk: &[u8]| {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(chunk);
        let surplus = kept.len().saturating_sub(KEPT);
        kept.drain(..surplus);
    });
    (ear, heard)
}
