//! Makes a slug of a checked-out tree: chooses buildpacks, runs them in a [`Sandbox`], packs the result.
//!
//! Guaranteed: what an app's code does during a build ends with the build, is within its bounds, and sees nothing of
//! the platform but its own tree, cache and variables. A failure is told to the pusher here, at length; the error is
//! for the record.
//!
//! Deliberately absent: where slugs are kept, and what becomes of them.

mod about;
mod app_json;
mod archive;
pub mod buildpacks;
mod builtin;
mod driver;
mod error;
pub mod messages;
mod outcome;
mod packs;
pub mod procfile;
mod sandbox;
mod tarball;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{RwLock, Semaphore};
use url::Url;
use uuid::Uuid;

pub use error::BuildError;
pub use messages::explain;
pub use packs::GitSource;
pub use sandbox::{
    Bound, Bounds, BubblewrapSandbox, BuildCluster, DockerBuilds, DockerSandbox, Ending, Folder, Job,
    KubernetesSandbox, RunningBuild, Sandbox, StackImages,
};
pub use tree::read_bytes;

use self::archive::Sizes;
use self::buildpacks::PackRef;
use self::builtin::Builtin;
use self::driver::Workspace;
use self::outcome::Made;
use self::packs::Packs;
use crate::server::domain::{AppName, ProcessType, SchedulePlan, SlugDigest, SlugKind, Stack};
use crate::server::progress::Progress;
use crate::server::steps;

/// How builds are made here.
#[derive(Debug, Clone)]
pub struct BuilderConfig {
    /// The builder's own folder; on the disk of the caches and slugs, so that results are moved and not copied.
    pub dir: PathBuf,
    /// What one build may use.
    pub bounds: Bounds,
    /// Bytes a slug may have. Unpacked it may have four times as many.
    pub slug_bytes: u64,
    /// Builds at once; others wait.
    pub concurrent: usize,
    /// The folder below which `.buildpacks` may name folders.
    pub buildpacks_dir: Option<PathBuf>,
    /// Where precompiled Erlang and Elixir come from when the machine has none that fits.
    pub elixir_mirror: Option<Url>,
}

impl BuilderConfig {
    /// The defaults, in `dir`.
    pub fn new(dir: PathBuf) -> Self {
        let concurrent = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let bounds = Bounds::default();
        Self { dir, bounds, slug_bytes: 500 << 20, concurrent, buildpacks_dir: None, elixir_mirror: None }
    }
}

/// What to build.
pub struct BuildRequest {
    /// Whose.
    pub app: AppName,
    /// The commit, 40 hex digits.
    pub sha: String,
    /// The checked-out tree, ours to change; the caller removes it.
    pub source: PathBuf,
    /// The cache of this app on this stack; nobody else uses it meanwhile. Made if it is not there.
    pub cache: PathBuf,
    /// The app's config and the platform's variables, complete. Secret.
    pub env: BTreeMap<String, String>,
    /// What it is built on.
    pub stack: Stack,
    /// Empty the cache first.
    pub clean: bool,
}

/// A slug that no store has yet.
#[derive(Debug)]
pub struct BuiltSlug {
    /// A `.tar.gz` in a temporary place; the taker moves or deletes it. Not yet on disk for sure (no fsync).
    pub archive: PathBuf,
    /// Its SHA-256.
    pub digest: SlugDigest,
    /// Its bytes.
    pub size: u64,
    /// What it is.
    pub kind: SlugKind,
    /// Process type → command line; never empty.
    pub processes: BTreeMap<ProcessType, String>,
    /// The name the build gave itself.
    pub customer_app_name: Option<String>,
    /// The version the build gave itself.
    pub customer_app_version: Option<String>,
    /// The buildpack's capabilities file; an empty object without one.
    pub capabilities: serde_json::Value,
    /// The schedules that the `app.json` of the pushed tree names; their patterns are not checked yet.
    pub schedules: Vec<SchedulePlan>,
}

/// Builds slugs.
pub struct Builder {
    config: BuilderConfig,
    packs: Packs,
    sandbox: Arc<dyn Sandbox>,
    turns: Semaphore,
}

impl Builder {
    /// Makes the builder's folder ready, and removes what builds left there that a killed server did not end.
    pub async fn open(config: BuilderConfig, sandbox: Arc<dyn Sandbox>, git: Arc<dyn GitSource>) -> io::Result<Self> {
        for passing in ["work", "slugs"] {
            let dir = config.dir.join(passing);
            fs::create_dir_all(&dir)?;
            fs::remove_dir_all(&dir)?;
            fs::create_dir(&dir)?;
        }
        sandbox.clear(&driver::prefix(&config)).await;
        let builtin = Builtin::unpack(&config.dir.join("builtin"))?;
        let http = reqwest::Client::builder().build().map_err(io::Error::other)?;
        let (dir, allowed) = (config.dir.join("packs"), config.buildpacks_dir.clone());
        packs::sweep(&dir)?;
        let packs = Packs { builtin, dir, allowed, git, http, copying: RwLock::default() };
        let turns = Semaphore::new(config.concurrent.max(1));
        Ok(Self { config, packs, sandbox, turns })
    }

    /// Builds. Output and, when it fails, the explanation go to `progress`. Ends at once when that is cancelled.
    pub async fn build(&self, request: BuildRequest, progress: &Progress) -> Result<BuiltSlug, BuildError> {
        let built = self.attempt(&request, progress).await;
        match &built {
            Ok(slug) => {
                tracing::info!(app.name = %request.app, commit = request.sha, slug.size = slug.size, "built a slug");
            }
            Err(error) => {
                tracing::info!(app.name = %request.app, commit = request.sha, %error, "a build failed");
                progress.bytes(explain(error).into()).await;
            }
        }
        built
    }

    async fn attempt(&self, request: &BuildRequest, progress: &Progress) -> Result<BuiltSlug, BuildError> {
        let _turn = self.turn(progress).await?;
        let (cache, clean) = (request.cache.clone(), request.clean);
        let prepared = tokio::task::spawn_blocking(move || prepare_cache(&cache, clean)).await;
        prepared
            .map_err(io::Error::other)
            .and_then(|done| done)
            .map_err(BuildError::io("preparing the build cache"))?;
        if request.clean {
            progress.line("-----> Emptied the build cache").await;
        }
        let packs = self.choose(request)?;
        let workspace = Workspace::make(&self.config.dir.join("work"), &request.env)?;
        for (index, pack) in packs.iter().enumerate() {
            self.packs.copy(pack, workspace.pack(index + 1), progress).await?;
        }
        steps::reached("build.started");
        let ran = self.run(request, &packs, &workspace, progress).await;
        let built = match ran {
            Ok(()) => self.collect(request, &workspace, progress).await,
            Err(error) => Err(error),
        };
        // Gigabytes of temporary files are nothing the pusher has to wait for.
        tokio::task::spawn_blocking(move || drop(workspace));
        let built = built?;
        steps::reached("build.finished");
        Ok(built)
    }

    async fn turn(&self, progress: &Progress) -> Result<tokio::sync::SemaphorePermit<'_>, BuildError> {
        if self.turns.available_permits() == 0 {
            progress.line("-----> Waiting for other builds to end").await;
        }
        tokio::select! {
            turn = self.turns.acquire() => turn.map_err(|error| BuildError::Unavailable(error.to_string())),
            () = progress.cancelled().cancelled() => Err(BuildError::Cancelled),
        }
    }

    /// `BUILDPACK_URL` before `.buildpacks` before what the tree looks like.
    fn choose(&self, request: &BuildRequest) -> Result<Vec<PackRef>, BuildError> {
        let builtins = self.packs.builtin.names();
        let wrong = |source_name, line| {
            move |error| BuildError::PackAddress { source_name, line, error, builtins: builtins.to_vec() }
        };
        if let Some(address) = request.env.get("BUILDPACK_URL").filter(|address| !address.trim().is_empty()) {
            return Ok(vec![buildpacks::parse(address, builtins).map_err(wrong("BUILDPACK_URL", None))?]);
        }
        let list = tree::read(&request.source, ".buildpacks", procfile::MAX_BYTES);
        let list = list.map_err(BuildError::file(".buildpacks"))?.unwrap_or_default();
        let packs =
            buildpacks::parse_list(&list, builtins).map_err(|(line, error)| wrong(".buildpacks", Some(line))(error))?;
        if !packs.is_empty() {
            return Ok(packs);
        }
        let found = tree::names(&request.source).map_err(BuildError::io("reading the pushed tree"))?;
        match buildpacks::detect(&found) {
            Some(pack) => Ok(vec![pack]),
            None => Err(BuildError::NothingDetected { found }),
        }
    }

    async fn run(
        &self,
        request: &BuildRequest,
        packs: &[PackRef],
        workspace: &Workspace,
        progress: &Progress,
    ) -> Result<(), BuildError> {
        let job = driver::job(request, packs.len(), workspace, &self.packs.builtin, &self.config);
        let ending = self.sandbox.run(job, progress).await.map_err(BuildError::Unavailable)?;
        driver::verdict(ending, packs, workspace, self.config.bounds)
    }

    async fn collect(
        &self,
        request: &BuildRequest,
        workspace: &Workspace,
        progress: &Progress,
    ) -> Result<BuiltSlug, BuildError> {
        let made = Made {
            tree: request.source.clone(),
            cache: request.cache.clone(),
            result: workspace.result(),
            archive: self.config.dir.join("slugs").join(format!("{}.tar.gz", Uuid::new_v4())),
            sizes: Sizes { packed: self.config.slug_bytes, unpacked: self.config.slug_bytes.saturating_mul(4) },
        };
        let cancelled = progress.cancelled().clone();
        let collected = tokio::task::spawn_blocking(move || {
            let slug = outcome::collect(&made, &cancelled);
            if slug.is_err() {
                let _ = fs::remove_file(&made.archive);
            }
            slug
        });
        let slug = collected.await.map_err(io::Error::other).map_err(BuildError::io("making the slug"))??;
        let types: Vec<_> = slug.processes.keys().map(ProcessType::as_str).collect();
        progress.line(format!("-----> Process types: {}", types.join(", "))).await;
        progress.line(format!("-----> Slug is {}", messages::bytes(slug.size))).await;
        Ok(slug)
    }
}

/// Makes the cache folder, empties it if asked to, and removes a release that an earlier build left in it.
fn prepare_cache(cache: &Path, clean: bool) -> io::Result<()> {
    if clean && cache.exists() {
        fs::remove_dir_all(cache)?;
    }
    fs::create_dir_all(cache)?;
    outcome::forget_release(cache)
}
