use std::collections::BTreeSet;
use std::sync::Arc;

use super::{AppName, Hostname, Rules};

/// What visitors meet before an app's replicas.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Front {
    /// Hosts beside the app's own.
    pub hosts: BTreeSet<Hostname>,
    /// Whether they read the maintenance page, whatever runs.
    pub maintenance: bool,
    /// Who gets some of them.
    pub canary: Option<Canary>,
    /// What else holds for their requests.
    pub rules: Arc<Rules>,
}

/// Another app that gets a part of an app's visitors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canary {
    /// Which.
    pub app: AppName,
    /// Percent of the visitors, 0 to 100.
    pub weight: u8,
}
