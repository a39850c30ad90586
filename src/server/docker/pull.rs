//! Fetching an image from its registry, and how far that is.

use std::collections::HashMap;

use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt as _;

use super::{Daemon, DockerError, Image, Reference, refused};

/// How far a pull is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pulled {
    /// Bytes that have come, of the layers whose size is known.
    pub bytes: u64,
    /// Bytes of those layers.
    pub of: u64,
}

impl Daemon {
    /// Fetches an image; a digest in the reference is what it will have. `tell` hears how far it is, often.
    pub async fn pull(&self, reference: &Reference, mut tell: impl FnMut(Pulled)) -> Result<Image, DockerError> {
        let options = CreateImageOptionsBuilder::default().from_image(reference.name());
        let options = options.tag(reference.digest().unwrap_or(reference.tag())).build();
        let mut told = std::pin::pin!(self.docker.create_image(Some(options), None, None));
        let mut layers = Layers::default();
        while let Some(step) = told.next().await {
            if let Some(so_far) = layers.hear(step.map_err(refused(format!("pulling {reference}")))?) {
                tell(so_far);
            }
        }
        let found = self.image(&reference.wanted()).await?;
        found.ok_or_else(|| DockerError::Unavailable(format!("{reference} was pulled and is not there")))
    }
}

/// Of each layer, what has come and what it has.
#[derive(Default)]
struct Layers(HashMap<String, (u64, u64)>);

impl Layers {
    fn hear(&mut self, step: CreateImageInfo) -> Option<Pulled> {
        let (layer, status) = (step.id?, step.status?);
        match status.as_str() {
            "Downloading" => {
                let detail = step.progress_detail?;
                let number = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
                let of = number(detail.total)?;
                self.0.insert(layer, (number(detail.current).unwrap_or_default().min(of), of));
            }
            "Download complete" | "Pull complete" => {
                let known = self.0.get_mut(&layer)?;
                known.0 = known.1;
            }
            _ => return None,
        }
        let sum = |part: fn(&(u64, u64)) -> u64| self.0.values().map(part).sum();
        Some(Pulled { bytes: sum(|layer| layer.0), of: sum(|layer| layer.1) })
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::ProgressDetail;

    use super::*;

    #[test]
    fn layers_add_up() {
        let mut layers = Layers::default();
        let mut hear = |id: &str, status: &str, progress: Option<(i64, i64)>| {
            let detail = progress.map(|(current, total)| ProgressDetail { current: Some(current), total: Some(total) });
            let step = CreateImageInfo {
                id: Some(id.to_owned()),
                status: Some(status.to_owned()),
                progress_detail: detail,
                ..Default::default()
            };
            layers.hear(step).map(|pulled| (pulled.bytes, pulled.of))
        };
        assert_eq!(hear("a", "Pulling fs layer", None), None);
        assert_eq!(hear("a", "Downloading", Some((1, 10))), Some((1, 10)));
        assert_eq!(hear("b", "Downloading", Some((5, 30))), Some((6, 40)));
        assert_eq!(hear("a", "Download complete", None), Some((15, 40)));
        assert_eq!(hear("c", "Already exists", None), None);
        assert_eq!(hear("b", "Pull complete", None), Some((40, 40)));
    }
}
