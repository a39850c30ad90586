use std::collections::BTreeSet;

use super::Hostname;

/// What visitors meet before an app's replicas.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Front {
    /// Hosts beside the app's own.
    pub hosts: BTreeSet<Hostname>,
    /// Whether they read the maintenance page, whatever runs.
    pub maintenance: bool,
}
