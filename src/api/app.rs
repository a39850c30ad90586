//! Apps, their processes and their configuration: `/api/apps…`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `POST /api/apps`. An empty object asks for a generated name.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct CreateApp {
    /// The wished name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique_name: Option<String>,
    /// Accepted for compatibility; there is one cloud here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud: Option<String>,
    /// Accepted for compatibility.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The stack to build on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<String>,
}

/// `GET /api/apps` (a list), `GET /api/apps/A`, and the answer to `POST /api/apps`.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct App {
    /// The app's name, unique on the platform.
    pub unique_name: String,
    /// 1.0 is 1 GB of memory.
    pub size: f64,
    /// The same in thousandths, as the client 0.1.0 reads it.
    #[serde(default)]
    pub size_m: u32,
    /// Wished replicas of the `web` process type.
    pub replicas: u32,
    /// Wished replicas by process type.
    pub formation: BTreeMap<String, u32>,
    /// Where it runs: `local`, `docker` or `kubernetes`.
    pub cloud: String,
    /// The platform's domain.
    pub region: String,
    /// The stack it is built on.
    pub stack: String,
    /// Whether visitors read the maintenance page.
    #[serde(default)]
    pub maintenance: bool,
    /// The newest release's version; 0 before the first.
    pub version: u32,
    /// Where a browser finds it.
    pub url: String,
    /// Where `git push` goes.
    pub git_url: String,
    /// RFC 3339.
    pub created_at: String,
}

/// `GET /api/apps/A/status`.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// The app's name.
    pub unique_name: String,
    /// 1.0 is 1 GB of memory.
    pub size: f64,
    /// As in [`App`].
    pub cloud: String,
    /// As in [`App`].
    pub region: String,
    /// As in [`App`].
    pub stack: String,
    /// Wished replicas, all process types.
    pub replicas_desired: u32,
    /// Healthy replicas, all process types.
    pub replicas_running: u32,
    /// Every replica there is.
    pub pods: Vec<Pod>,
}

/// One replica.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pod {
    /// Names the replica for `ps:kill`, `--replica` and the logs.
    pub name: String,
    /// The process type, `web` and so on.
    pub process: String,
    /// Its number among those of its type: with it, it can be called `web.2`. 0: an older server did not tell.
    #[serde(default)]
    pub index: u32,
    /// The commit it runs.
    pub sha: Option<String>,
    /// `Healthy`, `Starting`, `Crashed`, `Stopping`.
    pub status: String,
    /// The release it runs.
    pub version: u32,
    /// How often it was started anew after a crash.
    pub restarts: u32,
    /// RFC 3339.
    pub started_at: Option<String>,
    /// The machine it is on, as `nodes` calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// Its Erlang node, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The nodes that it is connected to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sees: Option<Vec<String>>,
    /// The version of the app that the node itself says it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<String>,
    /// What is wrong between it and the other nodes of its app, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// How it ended the last time, empty when it never did.
    #[serde(rename = "lastState")]
    pub last_state: LastState,
}

/// The `lastState` of a replica.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct LastState {
    /// The last termination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminated: Option<Terminated>,
}

/// One termination, in Kubernetes' words.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Terminated {
    /// As a shell counts: 128 + signal when killed.
    pub exit_code: i32,
    /// `Completed`, `Error` or `OOMKilled`.
    pub reason: String,
    /// RFC 3339.
    pub finished_at: String,
}

/// `PUT /api/apps/A/scale`. `size` ≥ 100 is read as thousandths (the 0.1.0 client).
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Scale {
    /// Replicas of `web`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// 1.0 is 1 GB of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<f64>,
    /// Replicas by process type (ours; the official client never sends it).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub formation: BTreeMap<String, u32>,
}

/// `POST /api/apps/A/configs`: today's form has `configs`, the 2017 form `key` and `value`.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SetConfigs {
    /// Name → value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configs: Option<BTreeMap<String, String>>,
    /// Leave the running replicas alone.
    #[serde(default)]
    pub avoid_restart: bool,
    /// Tell the running nodes, without a restart.
    #[serde(default)]
    pub hot: bool,
    /// 2017: the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// 2017: its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// `DELETE /api/apps/A/configs`.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UnsetConfig {
    /// The name to forget. The official client sends one; ours may send several in `keys`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Several names at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// Leave the running replicas alone.
    #[serde(default)]
    pub avoid_restart: bool,
    /// Tell the running nodes, without a restart.
    #[serde(default)]
    pub hot: bool,
}

/// `PUT /api/apps/A/maintenance`.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Maintenance {
    /// Whether visitors shall read the maintenance page.
    pub enable: bool,
}

/// An entry of `GET /api/apps/A/activity`, newest first.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Activity {
    /// One word: `deploy`, `rollback`, `config`, `scale`, `restart`, `kill`, `cookie`, `cluster`, `stack`, `domain`, `access`, `maintenance`, `canary`, `router`.
    pub kind: String,
    /// What, for people.
    pub summary: String,
    /// The address of who did it.
    pub created_by: String,
    /// RFC 3339.
    pub created_at: String,
}

/// `GET /api/apps/A/stats`: what all replicas of an app took together, minute by minute for the last hours, and now. Each
/// entry is the time, in seconds since 1970, and the amount; `null` where it was not counted.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stats {
    /// MiB of memory.
    pub mem: Vec<(i64, Option<u64>)>,
    /// Thousandths of a core.
    pub cpu: Vec<(i64, Option<u32>)>,
}
