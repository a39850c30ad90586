//! Images by name: what there is, and making one of a file system.

use std::fmt;
use std::io;
use std::str::FromStr;

use bollard::errors::Error;
use bollard::query_parameters::{CreateImageOptionsBuilder, RemoveImageOptionsBuilder};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use serde::Deserialize;

use super::{Daemon, DockerError, refused};

/// `NAME`, `NAME:TAG`, `NAME@DIGEST` or `NAME:TAG@DIGEST`; a name may have a registry's host and port in front.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Reference {
    name: String,
    tag: String,
    digest: Option<String>,
}

impl FromStr for Reference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("`{text}` is no image: {what}");
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.to_owned())),
            None => (text, None),
        };
        let sound = |digest: &String| {
            digest
                .strip_prefix("sha256:")
                .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
        };
        if !digest.as_ref().is_none_or(sound) {
            return Err(wrong("a digest is `sha256:` and 64 hex digits"));
        }
        let (name, tag) = rest.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).unwrap_or((rest, "latest"));
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./:".contains(&b));
        if name.is_empty() || tag.is_empty() || !plain(name) || !plain(tag) {
            return Err(wrong("write NAME, NAME:TAG or NAME:TAG@sha256:DIGEST"));
        }
        Ok(Self { name: name.to_owned(), tag: tag.to_owned(), digest })
    }
}

impl TryFrom<String> for Reference {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.tag)?;
        self.digest.as_ref().map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

impl Reference {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn tag(&self) -> &str {
        &self.tag
    }

    /// The digest that it demands.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// As the daemon is asked for it: a digest says all.
    pub(super) fn wanted(&self) -> String {
        match &self.digest {
            Some(digest) => format!("{}@{digest}", self.name),
            None => format!("{}:{}", self.name, self.tag),
        }
    }
}

/// An image that the daemon has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The daemon's own name for exactly this one.
    pub id: String,
    /// The registry's name for it; an image that was made here has none.
    pub digest: Option<String>,
    /// Its bytes.
    pub size: u64,
}

impl Daemon {
    /// An image, if the daemon has it.
    pub async fn image(&self, name: &str) -> Result<Option<Image>, DockerError> {
        match self.docker.inspect_image(name).await {
            Ok(found) => {
                let digest = found.repo_digests.unwrap_or_default().into_iter().next();
                let digest = digest.and_then(|named| Some(named.split_once('@')?.1.to_owned()));
                let size = found.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
                Ok(found.id.map(|id| Image { id, digest, size }))
            }
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => Err(refused(format!("looking for the image {name}"))(error)),
        }
    }

    /// Makes an image of a tar archive, as `docker import` does.
    pub async fn import(
        &self,
        reference: &Reference,
        archive: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<(), DockerError> {
        let options = CreateImageOptionsBuilder::default().from_src("-").repo(reference.name()).tag(reference.tag());
        let archive = bollard::body_try_stream(archive);
        let mut told = std::pin::pin!(self.docker.create_image(Some(options.build()), Some(archive), None));
        while let Some(step) = told.next().await {
            step.map_err(refused(format!("making the image {reference}")))?;
        }
        Ok(())
    }

    /// Takes a name from an image, and removes the image with its last one. False while a container needs it.
    pub(super) async fn forget(&self, name: &str) -> Result<bool, DockerError> {
        let options = RemoveImageOptionsBuilder::default().force(false).build();
        match self.docker.remove_image(name, Some(options), None).await {
            Ok(_) | Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(true),
            Err(Error::DockerResponseServerError { status_code: 409, .. }) => Ok(false),
            Err(error) => Err(refused(format!("removing the image {name}"))(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_and_written() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, shown, wanted) in [
            ("a/b", "a/b:latest", "a/b:latest"),
            ("heroku/heroku:24-build", "heroku/heroku:24-build", "heroku/heroku:24-build"),
            ("host:5000/a", "host:5000/a:latest", "host:5000/a:latest"),
            (&format!("host:5000/a:1@{digest}"), &format!("host:5000/a:1@{digest}"), &format!("host:5000/a@{digest}")),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!((reference.to_string().as_str(), reference.wanted().as_str()), (shown, wanted));
        }
        for wrong in ["", ":1", "a b", "a@sha256:1", "a:", "a?b"] {
            assert!(wrong.parse::<Reference>().is_err(), "{wrong}");
        }
    }
}
