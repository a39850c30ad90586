//! A container's output on its way from Docker, which keeps it, to the logs.

use std::time::Duration;

use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::{StreamExt as _, future};

use super::engine::Engine;
use crate::server::runtime::passage::{Passage, Position, stamped};

const AGAIN: Duration = Duration::from_millis(500);

/// Whose output, and where it goes.
pub(super) struct Output {
    pub(super) engine: Engine,
    /// The container's id.
    pub(super) container: String,
    pub(super) passage: Passage,
}

impl Output {
    /// Hands on all there is and all that comes, until the container has ended and nothing is left of it.
    pub(super) async fn follow(self) {
        let mut position = self.passage.of(&self.container);
        loop {
            self.follow_from(&mut position, true).await;
            match self.engine.state(&self.container).await {
                Ok(Some(state)) if state.running == Some(true) => {}
                // Following ends with the container, sometimes before its last words.
                Ok(_) => return self.follow_from(&mut position, false).await,
                // The daemon is away; the container may not be.
                Err(_) => {}
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn follow_from(&self, position: &mut Position, follow: bool) {
        let options = LogsOptionsBuilder::default().follow(follow).stdout(true).stderr(true).timestamps(true);
        let options = options.since(i32::try_from(position.at.as_second()).unwrap_or_default()).build();
        let pieces = self.engine.docker.logs(&self.container, Some(options));
        // An error: the daemon has gone, or the output has been thrown away.
        let pieces = pieces.take_while(|piece| future::ready(piece.is_ok()));
        let pieces =
            pieces.filter_map(|piece| future::ready(piece.ok().and_then(|piece| stamped(&piece.into_bytes()))));
        self.passage.carry(position, pieces).await;
    }
}
