//! Jobs over a runtime in memory, for the tests of all who use them.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::server::clock::Clock;
use crate::server::domain::Hostname;
use crate::server::releases::Releases;
use crate::server::runtime::{Runtime, Spoken};
use crate::server::store::Store;

use super::{Jobs, Output, Rooms, Settings};

/// Jobs that have started, whose output is kept below `folder`.
pub(crate) async fn jobs(store: &Store, releases: &Releases, runtime: Arc<dyn Runtime>, folder: &Path) -> Jobs {
    let settings = Settings::new(Hostname::parse("example.com").unwrap());
    let jobs = with(store, releases, runtime, folder, settings, Clock::system()).await;
    jobs.start().await.unwrap();
    jobs
}

/// Jobs that have not started.
pub(super) async fn with(
    store: &Store,
    releases: &Releases,
    runtime: Arc<dyn Runtime>,
    folder: &Path,
    settings: Settings,
    clock: Clock,
) -> Jobs {
    let output = Output::open(&folder.join("jobs"), 100_000).unwrap();
    output.recover(store).await.unwrap();
    let (lines, mut spoken) = mpsc::channel::<Spoken>(64);
    let carried = output.clone();
    tokio::spawn(async move {
        while let Some(Spoken { workload, line, .. }) = spoken.recv().await {
            carried.hear(&workload, &line);
        }
    });
    let rooms = Rooms { store: store.clone(), releases: releases.clone(), runtime, output, lines, clock };
    Jobs::new(rooms, settings)
}
