//! Whether apps can live in an image: asked of the image itself, in a container that may do nothing else.

use std::collections::BTreeSet;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{AttachContainerOptionsBuilder, CreateContainerOptions, RemoveContainerOptionsBuilder};
use futures_util::StreamExt as _;

use super::pins::Use;
use super::{Daemon, DockerError, refused};

/// What the entrypoint, sessions and copies start in a running app.
const TO_RUN: &[&str] = &["bash", "cat", "env", "sh", "tar"];
/// What buildpacks take for granted, beside that.
const TO_BUILD: &[&str] = &["curl", "cp", "find", "git", "grep", "gzip", "mktemp", "sed", "sha256sum", "tr"];

/// Says each program that is missing, on a line. A builtin of bash's own counts as there.
const ASK: &str = r#"for program; do command -v "$program" >/dev/null || echo "$program"; done; echo done"#;

impl Daemon {
    /// Whether an image has what it takes. The error is a sentence about what it lacks.
    pub async fn check(&self, image: &str, name: &str, of: Use) -> Result<(), DockerError> {
        let lacks = |what: &str| DockerError::Unavailable(format!("the image {name} cannot be used: it has no {what}"));
        let wanted: &[&[&str]] = if of == Use::Build { &[TO_RUN, TO_BUILD] } else { &[TO_RUN] };
        let programs = wanted.iter().copied().flatten().map(|program| (*program).to_owned());
        let words = ["-c", ASK, "-"].map(str::to_owned).into_iter().chain(programs);
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            entrypoint: Some(vec!["/bin/bash".to_owned()]),
            cmd: Some(words.collect()),
            user: Some("1000:1000".to_owned()),
            network_disabled: Some(true),
            host_config: Some(HostConfig {
                network_mode: Some("none".to_owned()),
                readonly_rootfs: Some(true),
                cap_drop: Some(vec!["ALL".to_owned()]),
                security_opt: Some(vec!["no-new-privileges".to_owned()]),
                ..Default::default()
            }),
            ..Default::default()
        };
        let made = self.docker.create_container(None::<CreateContainerOptions>, body).await;
        let id = made.map_err(refused(format!("looking into the image {name}")))?.id;
        let said = self.said(&id).await;
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        let _ = self.docker.remove_container(&id, Some(options)).await;
        match said {
            Ok(said) => {
                // Heard from the log and as it is said, a line may come twice.
                let mut lines: BTreeSet<&str> = said.lines().collect();
                match (lines.remove("done"), lines.is_empty()) {
                    (true, true) => Ok(()),
                    (true, false) => Err(lacks(&lines.into_iter().collect::<Vec<_>>().join(", "))),
                    (false, _) => Err(lacks("bash that runs")),
                }
            }
            // runc says so when the entrypoint is not there.
            Err(Error::DockerResponseServerError { status_code: 400, .. }) => Err(lacks("/bin/bash")),
            Err(error) => Err(refused(format!("looking into the image {name}"))(error)),
        }
    }

    async fn said(&self, id: &str) -> Result<String, Error> {
        let options = AttachContainerOptionsBuilder::default().stdout(true).stream(true).logs(true).build();
        let mut attached = self.docker.attach_container(id, Some(options)).await?;
        self.docker.start_container(id, None).await?;
        let mut said = String::new();
        while let Some(piece) = attached.output.next().await {
            if let LogOutput::StdOut { message } = piece? {
                said.push_str(&String::from_utf8_lossy(&message));
            }
        }
        Ok(said)
    }
}
