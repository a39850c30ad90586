//! Why the receiver could not do as told.

use std::io;

/// A failure of the repository itself, to be logged; not the pusher's fault.
#[derive(Debug, thiserror::Error)]
pub enum ReceiverError {
    /// gix refused; its whole chain of reasons in one line.
    #[error("{0}")]
    Git(String),
    /// The disk refused.
    #[error("{context}")]
    Io {
        /// What was being done, lower case.
        context: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A value that is no ref name or no object id reached the receiver.
    #[error("{0}")]
    Invalid(String),
}

impl ReceiverError {
    /// Logs it, for it is a fault of the server's, and gives what the pusher is to be told of it.
    pub(super) fn told(&self) -> String {
        tracing::error!(error = reasons(self), "A push failed in the repository");
        "the server could not work on the repository; its log says why".to_owned()
    }

    /// An IO failure while doing `context`.
    pub(super) fn io(context: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let context = context.into();
        move |source| Self::Io { context, source }
    }
}

impl From<gix::Error> for ReceiverError {
    fn from(error: gix::Error) -> Self {
        Self::Git(reasons(&error))
    }
}

/// A request that gets an HTTP error instead of git's own report.
#[derive(Debug, thiserror::Error)]
pub enum Rejected {
    /// The request is not what a git client sends; the sentence says what was found.
    #[error("{0}")]
    Malformed(String),
    /// The repository failed.
    #[error(transparent)]
    Failed(#[from] ReceiverError),
}

/// The chain of sources in one line; gix's `Display` shows only the topmost.
pub(super) fn reasons(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = cause.source();
    }
    text.replace(['\n', '\r'], " ")
}
