//! Releases: `/api/apps/A/releases…`.

use serde::{Deserialize, Serialize};

/// One release; `GET /api/apps/A/releases` lists them newest first.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Release {
    /// 1, 2, 3 …
    pub version: u32,
    /// Names the release in `rollback` as well as the version does.
    pub rollback_id: String,
    /// The commit; absent before the first push.
    pub sha: Option<String>,
    /// What made it: "Deploy 77f6c29", "Set `K` config var.", "Rollback to v3".
    pub summary: String,
    /// Who made it.
    pub created_by: String,
    /// RFC 3339.
    pub created_at: String,
    /// The name the build gave itself (the mix release's name).
    pub customer_app_name: Option<String>,
    /// The version the build gave itself.
    pub customer_app_version: Option<String>,
    /// `live`, `failed`, `superseded`, `deploying`.
    pub state: String,
    /// Never shown: `<REDACTED>`, as scripts expect the field.
    pub slug_url: String,
    /// The nodes that it was brought to while they ran; empty if every replica was started anew for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hot: Vec<NodeUpgrade>,
}

/// The query of `POST /api/apps/A/releases/V/rollback`.
#[cfg_attr(feature = "server", derive(utoipa::IntoParams))]
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Rollback {
    /// In running nodes, without a restart.
    #[serde(default)]
    pub hot: bool,
    /// With a restart, if that cannot be done.
    #[serde(default)]
    pub or_restart: bool,
}

/// A node that a release was brought to while it ran.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodeUpgrade {
    /// The replica.
    pub replica: String,
    /// `changed`; `undone`, or `begun` if nobody knows how far it got.
    pub state: String,
    /// Milliseconds in which processes were suspended.
    pub pause_ms: Option<f64>,
    /// Milliseconds that the change took as a whole.
    pub took_ms: Option<f64>,
}

/// `GET /api/apps/A/releases/V1/upgrade-plan/V2`: how a running release would become another.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UpgradePlan {
    /// The version that the first one's build gave itself.
    pub from: String,
    /// The second one's.
    pub to: String,
    /// Whether it can be done in running nodes.
    pub possible: bool,
    /// Whether it can be undone in running nodes; else replicas are replaced, should it fail.
    pub undoable: bool,
    /// Why it cannot be done; all reasons.
    pub refusals: Vec<Refusal>,
    /// Every application that differs.
    pub apps: Vec<AppChange>,
    /// What is no reason to refuse and still worth a look.
    pub notes: Vec<String>,
    /// What nodes are told, as OTP's release handler reads it.
    pub script: Option<String>,
}

/// One reason why a release cannot be upgraded in place.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Refusal {
    /// Its kind, one word.
    pub what: String,
    /// What was found.
    pub text: String,
    /// What to do about it.
    pub fix: String,
}

/// One application in two releases.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AppChange {
    /// Its name.
    pub name: String,
    /// Its version before; absent if it is new.
    pub from: Option<String>,
    /// Its version afterwards; absent if it is gone.
    pub to: Option<String>,
    /// `own` (it brings an appup), `relup` (the release brings one), `derived`, `added` or `removed`.
    pub appup: String,
    /// The modules that differ.
    pub modules: Vec<ModuleChange>,
}

/// One module in two releases.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ModuleChange {
    /// Its name, as Erlang has it.
    pub name: String,
    /// `added`, `changed` or `deleted`.
    pub change: String,
    /// `server`, `statem`, `event`, `supervisor`, `application` or `code`.
    pub kind: String,
}
