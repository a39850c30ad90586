//! What a running replica asks about its own app, signed in by the app's name and `APP_KEY`:
//! `/api/apps/A/host_indexes/HOSTNAME/assign`, `/api/apps/A/releases/current`, `/api/apps/A/ssh_keys`, `/api/apps/A/flame`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `GET /api/apps/A/host_indexes/HOSTNAME/assign`.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HostIndex {
    /// The replica's `HOST_INDEX`: free again when it has ended.
    pub index: u32,
}

/// `GET /api/apps/A/releases/current`: all that is needed to run the app. Secret.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Clone, Serialize, Deserialize)]
pub struct CurrentRelease {
    /// Where the slug's archive is, for a while and without another credential.
    pub slug_url: String,
    /// The name the build gave itself.
    pub customer_app_name: Option<String>,
    /// The version the build gave itself; `HEAD` if none.
    pub customer_app_version: String,
    /// The app's variables.
    pub config: BTreeMap<String, String>,
    /// Where it runs: `local`, `docker` or `kubernetes`.
    pub cloud: String,
    /// The platform's domain.
    pub region: String,
    /// The release's number.
    pub version: u32,
    /// The commit.
    pub sha: String,
    /// What made the release.
    pub summary: String,
    /// RFC 3339.
    pub created_at: String,
    /// Wished replicas of `web`.
    pub replicas: u32,
    /// `{"distillery": {"eval": …, "rpc": …, "start_command": …, "remote_command": …}}`, as far as the build said.
    pub capabilities: Value,
    /// `SECRET_KEY_BASE`.
    pub secret_key_base: String,
    /// `ERLANG_COOKIE`.
    pub erlang_cookie: String,
    /// `LOGPLEX_TOKEN`.
    pub logplex_token: String,
    /// `LIBCLUSTER_KUBERNETES_SELECTOR`.
    pub libcluster_kubernetes_selector: String,
    /// `LIBCLUSTER_KUBERNETES_NODE_BASENAME`.
    pub libcluster_kubernetes_node_basename: String,
}

/// `POST /api/apps/A/flame`: a runner of the app's own code, as the FLAME library asks for one.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Flame {
    /// Variables over the app's config: the library's own, which tell the runner whom to report to.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// How large it is; the app's size if not given.
    #[serde(default)]
    pub size: Option<f64>,
    /// How many seconds it may run.
    #[serde(default)]
    pub max_runtime: Option<u64>,
}

/// The answer of `POST /api/apps/A/flame`, without an envelope.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FlameRunner {
    /// The replica's name in `ps`, its `HOSTNAME`.
    pub instance_id: String,
    /// The address in its node's name, which is `APP@ADDRESS`.
    pub private_ip: String,
}

/// `GET /api/default_backend/domain`: what stands between a visitor and an app.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DomainStatus {
    /// `ok`, `domain_not_found`, `app_not_found`, `release_not_found` or `replicas_not_found`.
    pub status: String,
}
