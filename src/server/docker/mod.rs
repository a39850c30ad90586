//! A conversation with a Docker daemon, as far as more than one room has it: finding the daemon, and images. What runs
//! in containers is for the rooms that run something.

mod check;
mod images;
mod networks;
mod pins;
mod pull;

use std::path::Path;

use bollard::{API_DEFAULT_VERSION, Docker};

pub use self::images::{Image, Reference};
pub use self::networks::NewNetwork;
pub use self::pins::{Pin, Use};
pub use self::pull::Pulled;

/// Until the daemon answers; longer than any grace, since it answers some requests only when they are done.
const TIMEOUT_SECONDS: u64 = 300;

/// Why the daemon did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// It is not there, or an image is not; the sentence says what to do.
    #[error("{0}")]
    Unavailable(String),
    /// Its own refusal.
    #[error("{doing}: {}", words(.cause))]
    Refused {
        /// What was being done, lower case.
        doing: String,
        /// Its words, or why there are none.
        cause: bollard::errors::Error,
    },
}

fn words(cause: &bollard::errors::Error) -> String {
    match cause {
        bollard::errors::Error::DockerResponseServerError { message, .. } => message.clone(),
        bollard::errors::Error::DockerStreamError { error } => error.clone(),
        other => format!("Docker does not answer ({other})"),
    }
}

/// A daemon that answers.
#[derive(Debug, Clone)]
pub struct Daemon {
    /// For what is not said here.
    pub docker: Docker,
}

impl Daemon {
    /// The daemon at a socket, if it answers there.
    pub async fn connect(socket: &Path) -> Result<Self, DockerError> {
        let unavailable = |error: bollard::errors::Error| {
            DockerError::Unavailable(format!("Docker does not answer at {}: {error}", socket.display()))
        };
        let address = socket.to_string_lossy();
        let docker =
            Docker::connect_with_socket(&address, TIMEOUT_SECONDS, API_DEFAULT_VERSION).map_err(unavailable)?;
        let docker = docker.negotiate_version().await.map_err(unavailable)?;
        docker.ping().await.map_err(unavailable)?;
        Ok(Self { docker })
    }
}

/// For `map_err`.
fn refused(doing: impl Into<String>) -> impl FnOnce(bollard::errors::Error) -> DockerError {
    let doing = doing.into();
    move |cause| DockerError::Refused { doing, cause }
}
