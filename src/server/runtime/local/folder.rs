//! What lies on disk, and how it gets there whole.
//!
//! ```text
//! DATA/replicas/APP.PROCESS.GENERATION/      a generation
//!   workload.json                            the wish; without it, the folder is on its way out
//!   NAME/                                    one replica
//!     spec.json                              what its shim runs; without it, the folder is half made
//!     lock                                   held by the living shim
//!     control                                the shim's socket
//!     state.json                             the shim's last word: restarts, last exit
//!     stopping                               it was told to end
//!     log.N, acknowledged                    its output from line N on, and how far the server has taken it
//!     slug-DIGEST                            a second link to the archive, so that no sweep takes it away
//!     app/ tmp/ etc/ entrypoint directory/   what the sandbox shows
//! ```
//!
//! Everything is for the server's user alone: `workload.json`, `spec.json` and `args` hold secrets.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(super) use super::super::files::*;
use crate::server::confine::Limits;
use crate::server::confine::enter::Limit;
use crate::server::domain::{Lifetime, ProcessType, Size, SlugDigest};
use crate::server::runtime::directory::Membership;

pub(super) const WORKLOAD: &str = "workload.json";
pub(super) const SPEC: &str = "spec.json";
pub(super) const STATE: &str = "state.json";
pub(super) const LOCK: &str = "lock";
pub(super) const CONTROL: &str = "control";
pub(super) const STOPPING: &str = "stopping";
const SLUG: &str = "slug";

const OPEN_FILES: u64 = 65_536;

/// What a shim runs. Complete: a shim reads nothing else, and this again before each run.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Spec {
    /// The replica's name.
    pub(super) name: String,
    /// Its process type and index: `web.1`.
    pub(super) process: ProcessType,
    pub(super) index: u32,
    /// The Procfile line.
    pub(super) command: String,
    /// Its arguments.
    #[serde(default)]
    pub(super) arguments: Vec<String>,
    /// Whether it is started anew when it ends.
    #[serde(default)]
    pub(super) lifetime: Lifetime,
    /// The whole environment. Secret.
    pub(super) env: BTreeMap<String, String>,
    /// What it runs. `None`: made by an earlier version.
    #[serde(default)]
    pub(super) digest: Option<SlugDigest>,
    /// Its number on this machine: the port it is given, and what its address is made of.
    pub(super) slot: u16,
    /// The port of its own `epmd`.
    pub(super) epmd_port: u16,
    /// The port of its Erlang node, the same for all of its app. `None`: made by an earlier version.
    #[serde(default)]
    pub(super) dist_port: Option<u16>,
    /// Where it asks who else there is of its app.
    #[serde(default)]
    pub(super) directory: Option<Membership>,
    /// The folders of its control group; none where there are no control groups.
    pub(super) cgroup: Vec<PathBuf>,
    /// What the control group bounds; where there is none, memory is bounded per process.
    pub(super) limits: Limits,
}

impl Spec {
    /// `web.1`
    pub(super) fn label(&self) -> String {
        format!("{}.{}", self.process, self.index)
    }

    /// The archive's link in its folder.
    pub(super) fn slug(&self) -> String {
        self.digest.as_ref().map_or_else(|| SLUG.to_owned(), slug_link)
    }

    /// How long its process may run, if it runs once.
    pub(super) fn once(&self) -> Option<Duration> {
        match self.lifetime {
            Lifetime::Service => None,
            Lifetime::Once { limit } => Some(limit),
        }
    }

    /// What bounds each of its processes: where there is no control group, memory as well.
    pub(super) fn rlimits(&self) -> Vec<(Limit, u64)> {
        let mut limits = vec![(Limit::Core, 0), (Limit::OpenFiles, OPEN_FILES)];
        if self.cgroup.is_empty() {
            limits.extend(self.limits.memory_bytes.map(|bytes| (Limit::Data, bytes)));
        }
        limits
    }

    /// How large it is: its memory tells.
    pub(super) fn size(&self) -> Size {
        let milli = self.limits.memory_bytes.unwrap_or_default() / Size::from_milli(1).memory_bytes();
        Size::from_milli(u32::try_from(milli).unwrap_or(u32::MAX))
    }

    /// Its own loopback address, of 127.64.0.0/10.
    pub(super) fn ip(&self) -> IpAddr {
        address_of(self.slot)
    }
}

/// What the link to an archive is called: another one for each, so that the spec that names it changes both at once.
pub(super) fn slug_link(digest: &SlugDigest) -> String {
    format!("{SLUG}-{digest}")
}

/// The loopback address that belongs to a slot.
pub(super) fn address_of(slot: u16) -> IpAddr {
    let [high, low] = slot.to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(127, 64, high, low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_have_addresses_of_their_own() {
        assert_eq!(address_of(0x1234).to_string(), "127.64.18.52");
    }
}
