use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Invalid, ProcessType, SchedulePlan, Stack};

/// A built app: an immutable `.tar.gz` that unpacks to `/app`, and what is known of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Slug {
    /// Names the archive in the slug store.
    pub digest: SlugDigest,
    /// Bytes of the archive.
    pub size: u64,
    /// The commit it was built from, 40 hex digits.
    pub sha: String,
    /// What it was built on.
    pub stack: Stack,
    /// How it is started and what `gigalixir_run` can do with it.
    pub kind: SlugKind,
    /// Process type → command line, a shell command as in a Procfile.
    pub processes: BTreeMap<ProcessType, String>,
    /// The name the build gave itself (a mix release's).
    pub customer_app_name: Option<String>,
    /// The version the build gave itself.
    pub customer_app_version: Option<String>,
    /// The buildpack's capabilities file, as it was (contract: `{"distillery": {"eval": …}}`).
    pub capabilities: serde_json::Value,
    /// The schedules that its `app.json` names.
    #[serde(default)]
    pub schedules: Vec<SchedulePlan>,
}

impl Slug {
    /// The process types that run on and on, with their commands: all but the release phase.
    pub fn services(&self) -> impl Iterator<Item = (&ProcessType, &String)> + Clone {
        self.processes.iter().filter(|(process, _)| **process != ProcessType::release())
    }

    /// What runs in a deploy before the new replicas.
    pub fn release_phase(&self) -> Option<&str> {
        self.processes.get(&ProcessType::release()).map(String::as_str)
    }
}

/// What a slug is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SlugKind {
    /// A mix or distillery release: `bin/NAME` exists.
    Release,
    /// A mix project run by `mix`.
    Mix,
    /// Anything else with a Procfile.
    Other,
}

/// SHA-256 of a slug's archive, 64 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SlugDigest(String);

impl SlugDigest {
    /// Checks a digest.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let ok = text.len() == 64 && text.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c));
        if ok { Ok(Self(text.to_owned())) } else { Err(Invalid::new("slug", "digest has invalid format")) }
    }

    /// The hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SlugDigest {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        Self::parse(&text)
    }
}

impl From<SlugDigest> for String {
    fn from(digest: SlugDigest) -> String {
        digest.0
    }
}

impl fmt::Display for SlugDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
