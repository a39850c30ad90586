//! Making an image of a file system.

use std::io;
use std::path::Path;

use bollard::query_parameters::CreateImageOptionsBuilder;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};

use super::Docker;
use super::engine::{Engine, failed};
use crate::server::runtime::RuntimeError;

impl Docker {
    /// Makes the image `reference` (`NAME` or `NAME:TAG`) of a tar archive, as `docker import` does.
    pub async fn import(
        socket: &Path,
        reference: &str,
        archive: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<(), RuntimeError> {
        let engine = Engine::connect(socket, String::new()).await?;
        let (name, tag) =
            reference.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).unwrap_or((reference, "latest"));
        let options = CreateImageOptionsBuilder::default().from_src("-").repo(name).tag(tag).build();
        let archive = bollard::body_try_stream(archive);
        let mut told = std::pin::pin!(engine.docker.create_image(Some(options), Some(archive), None));
        while let Some(step) = told.next().await {
            step.map_err(failed(format!("making the image {reference}")))?;
        }
        Ok(())
    }
}
