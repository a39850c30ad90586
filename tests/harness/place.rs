//! Where a platform's apps run: what people see of it is the same everywhere, so its tests are too.

use std::path::Path;

use super::cluster::Cluster;
use super::{Server, docker};

/// A runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Local,
    Docker,
    Kubernetes,
}

impl Place {
    /// Whether this machine has it; says SKIPPED if not.
    pub fn is_there(self) -> bool {
        match self {
            Self::Local => true,
            Self::Docker => docker::is_there(Path::new(env!("CARGO_BIN_EXE_gigalixir"))),
            Self::Kubernetes => Cluster::find().is_some(),
        }
    }

    /// A platform there, with lines of `server.toml` of its own.
    pub fn server(self, config: &str) -> Server {
        match self {
            Self::Local | Self::Docker => Server::with_config(&self.config(config)),
            Self::Kubernetes => Server::in_cluster(Cluster::find().expect("a cluster"), config),
        }
    }

    /// The lines with which a platform is on this machine.
    pub fn config(self, config: &str) -> String {
        let name = if self == Self::Docker { "docker" } else { "local" };
        format!("runtime = \"{name}\"\n{config}")
    }
}

/// Makes a test of each case (`fn case(on: Place)`) for each runtime.
#[macro_export]
macro_rules! on_every_runtime {
    ($($case:ident)*) => {
        mod on_local {
            $(
                #[test]
                fn $case() {
                    super::$case($crate::harness::Place::Local);
                }
            )*
        }
        mod on_docker {
            $(
                #[test]
                fn $case() {
                    if $crate::harness::Place::Docker.is_there() {
                        super::$case($crate::harness::Place::Docker);
                    }
                }
            )*
        }
    };
}
