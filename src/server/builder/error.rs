//! Why a build failed: facts alone. The words a pusher reads are in [`messages`](super::messages).

use std::io;

use super::buildpacks::PackRefError;
use super::procfile::ProcfileError;
use super::sandbox::{Bound, Bounds};

/// Why there is no slug. `Display` is one line; [`super::messages::explain`] tells it at length.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Nobody waits for it any more.
    #[error("build cancelled")]
    Cancelled,
    /// No built-in pack fits the tree.
    #[error("no buildpack fits this app")]
    NothingDetected {
        /// The names at the top of the tree.
        found: Vec<String>,
    },
    /// A pack's address that is none.
    #[error("{source_name}{}: {error}", .line.map(|line| format!(", line {line}")).unwrap_or_default())]
    PackAddress {
        /// `.buildpacks` or `BUILDPACK_URL`.
        source_name: &'static str,
        /// Where in it.
        line: Option<usize>,
        /// What is wrong.
        error: PackRefError,
        /// The built-in packs.
        builtins: Vec<String>,
    },
    /// A pack that could not be had.
    #[error("buildpack {pack} could not be fetched: {reason}")]
    PackFetch {
        /// Which.
        pack: String,
        /// Why.
        reason: String,
    },
    /// What was fetched has no `bin/detect` and `bin/compile`.
    #[error("{pack} is not a buildpack: it has no `{missing}`")]
    NotAPack {
        /// Which.
        pack: String,
        /// What it lacks.
        missing: &'static str,
    },
    /// A pack said that it does not fit.
    #[error("buildpack {pack} does not fit this app")]
    Detect {
        /// Which.
        pack: String,
    },
    /// A pack failed.
    #[error("buildpack {pack} failed with exit code {code}")]
    Pack {
        /// Which.
        pack: String,
        /// `compile` or `release`.
        stage: String,
        /// As a shell counts.
        code: i32,
    },
    /// A bound was passed.
    #[error("build stopped: {}", super::messages::bound(*.bound, .bounds))]
    Bound {
        /// Which.
        bound: Bound,
        /// What they were.
        bounds: Bounds,
    },
    /// A Procfile line that is none.
    #[error("Procfile, {0}")]
    Procfile(#[from] ProcfileError),
    /// Neither a Procfile nor a pack names a process.
    #[error("nothing says how to start this app")]
    NoProcesses,
    /// A pattern of `.slugignore` that is none.
    #[error(".slugignore, line {line}: {problem}")]
    Slugignore {
        /// Counted from 1; 0 when no single line is to blame.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A file of the app that cannot be read as what it should be.
    #[error("`{file}` cannot be read: {problem}")]
    BadFile {
        /// Which.
        file: &'static str,
        /// Why not.
        problem: String,
    },
    /// A pack's result that is not as agreed.
    #[error("the buildpack's result cannot be used: {0}")]
    BadResult(String),
    /// The slug would be too large.
    #[error("slug is larger than {limit} bytes{}", if *.unpacked { " unpacked" } else { "" })]
    SlugTooLarge {
        /// The most it may have.
        limit: u64,
        /// Whether its files, not its archive, passed the limit.
        unpacked: bool,
    },
    /// The machine lacks something; the sentence says what and what to do.
    #[error("{0}")]
    Unavailable(String),
    /// The machine's own refusal.
    #[error("{context}: {source}")]
    Io {
        /// What was being done.
        context: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl BuildError {
    /// For `map_err`.
    pub(super) fn io(context: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { context, source }
    }

    /// For `map_err` on a file of the app's.
    pub(super) fn file(file: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| Self::BadFile { file, problem: error.to_string() }
    }
}
