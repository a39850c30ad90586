//! The images that stacks stand for here, held still: a tag in a registry moves under whoever pulls it, a pin moves when
//! the operator says so. A pin is a name of ours on the daemon, so that every server and command that uses the daemon
//! sees the same one, and nobody's `docker pull` or `docker image prune` takes it away.

use std::collections::HashMap;

use bollard::query_parameters::{ListImagesOptionsBuilder, TagImageOptionsBuilder};
use sha2::{Digest as _, Sha256};

use super::{Daemon, DockerError, Image, Reference, refused};

/// The name of all pins; their tags tell them apart.
const PINS: &str = "gigalixir/stack";
/// Of the tags of images that were pinned before.
const OLD: &str = "old-";

/// What an image of a stack is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Use {
    /// Apps run in it.
    Run,
    /// Apps are built in it.
    Build,
}

/// What a stack calls for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    stack: String,
    of: Use,
    reference: Reference,
}

impl Pin {
    /// For an image of a stack. Another reference of the same stack is another pin.
    pub fn new(stack: &str, of: Use, reference: Reference) -> Self {
        Self { stack: stack.to_owned(), of, reference }
    }

    /// What containers are made of.
    pub fn name(&self) -> String {
        let of = if self.of == Use::Run { "run" } else { "build" };
        let reference = Sha256::digest(self.reference.to_string());
        format!("{PINS}:{}.{of}.{}", self.stack, hex::encode(&reference[..4]))
    }

    /// What it was pinned from.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }
}

impl Daemon {
    /// The pinned image. What the daemon has under the reference is pinned now, if it has what it takes and nothing was
    /// pinned before; `None` if it has nothing.
    pub async fn pinned(&self, pin: &Pin) -> Result<Option<Image>, DockerError> {
        if let Some(known) = self.image(&pin.name()).await? {
            return Ok(Some(known));
        }
        match self.image(&pin.reference.wanted()).await? {
            Some(image) => self.hold(pin, image).await.map(Some),
            None => Ok(None),
        }
    }

    /// Pins what the daemon has under the reference now, whatever was pinned before; the error says what it lacks.
    pub async fn pin(&self, pin: &Pin) -> Result<Image, DockerError> {
        let missing = || DockerError::Unavailable(format!("there is no image {}", pin.reference));
        let image = self.image(&pin.reference.wanted()).await?.ok_or_else(missing)?;
        match self.image(&pin.name()).await? {
            Some(known) if known.id == image.id => return Ok(known),
            Some(known) => {
                let short: String = known.id.trim_start_matches("sha256:").chars().take(12).collect();
                self.tag(&known.id, &format!("{OLD}{short}")).await?;
            }
            None => {}
        }
        self.hold(pin, image).await
    }

    async fn hold(&self, pin: &Pin, image: Image) -> Result<Image, DockerError> {
        self.check(&image.id, &pin.reference.to_string(), pin.of).await?;
        let name = pin.name();
        self.tag(&image.id, name.rsplit_once(':').map_or("", |(_, tag)| tag)).await?;
        Ok(image)
    }

    async fn tag(&self, image: &str, tag: &str) -> Result<(), DockerError> {
        let options = TagImageOptionsBuilder::default().repo(PINS).tag(tag).build();
        self.docker.tag_image(image, Some(options)).await.map_err(refused(format!("naming the image {image}")))
    }

    /// Removes images that were pinned before and that no container needs any more; how many.
    pub async fn sweep_pins(&self) -> Result<usize, DockerError> {
        let filter = HashMap::from([("reference", vec![format!("{PINS}:{OLD}*")])]);
        let options = ListImagesOptionsBuilder::default().filters(&filter).build();
        let found = self.docker.list_images(Some(options)).await.map_err(refused("listing images"))?;
        let mut gone = 0;
        for name in found.into_iter().flat_map(|image| image.repo_tags) {
            if name.starts_with(&format!("{PINS}:{OLD}")) && self.forget(&name).await? {
                gone += 1;
            }
        }
        Ok(gone)
    }
}
