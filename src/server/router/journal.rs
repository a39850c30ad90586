//! The access log: a line for each request of the apps that asked for it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Version};

use super::listen::Client;
use crate::server::domain::AppName;

/// Bytes of a path in a line.
const LONGEST_PATH: usize = 2048;

/// Whoever keeps the apps' logs.
pub trait Journal: Send + Sync + 'static {
    /// Takes a line. It must not wait.
    fn wrote(&self, app: &AppName, line: String);
}

/// A line in the making, in the form `key=value`.
pub(super) struct Note {
    journal: Arc<dyn Journal>,
    app: AppName,
    line: String,
}

impl Note {
    /// What is known of a request at its beginning.
    pub(super) fn begin<B>(
        client: &Client,
        app: &AppName,
        request: &Request<B>,
        host: &str,
        id: &HeaderValue,
    ) -> Option<Box<Self>> {
        let journal = Arc::clone(client.shared.journal.as_ref()?);
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let path = &path[..path.floor_char_boundary(LONGEST_PATH)];
        let (method, id) = (request.method(), id.to_str().unwrap_or("-"));
        let protocol = match request.version() {
            Version::HTTP_2 => "h2",
            Version::HTTP_10 => "http/1.0",
            _ => "http/1.1",
        };
        let from = client.peer.visitor(request.headers());
        let scheme = if client.peer.is_secure(request.headers()) { "https" } else { "http" };
        let line = format!(
            "method={method} path={path:?} host={host} fwd={from:?} request_id={id} scheme={scheme} protocol={protocol}"
        );
        Some(Box::new(Self { journal, app: app.clone(), line }))
    }

    /// Who was asked.
    pub(super) fn asked(&mut self, replica: &str) {
        // Writing to a string does not fail.
        let _ = write!(self.line, " replica={replica}");
    }

    pub(super) fn write(mut self, status: u16, bytes: u64, took: Duration) {
        let _ = write!(self.line, " status={status} bytes={bytes} took={}ms", took.as_millis());
        self.journal.wrote(&self.app, self.line);
    }
}
