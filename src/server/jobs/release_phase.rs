//! The release phase: the Procfile's `release` line, run once with the code and config of the new release, before any
//! replica of it. Whoever deploys hears it and waits for its end.

use futures_util::StreamExt;

use crate::server::domain::{
    App, ConfigVars, Job, JobCommand, JobKind, JobState, LogLine, LogSource, ReleaseVersion, Slug,
};
use crate::server::progress::Progress;

use super::begin::Ground;
use super::{JobError, Jobs, Wish};

/// Lines of a failed phase that are told once more.
const LAST_LINES: usize = 20;

/// What a release phase runs with: a release that is not live yet.
#[derive(Debug, Clone)]
pub struct Phase {
    /// The Procfile's line.
    pub line: String,
    /// The new release.
    pub version: ReleaseVersion,
    /// Its code.
    pub slug: Slug,
    /// Its config.
    pub config: ConfigVars,
    /// The address of who deploys.
    pub by: String,
}

impl Jobs {
    /// Runs it to its end and tells all it says. Ends it when nobody listens any more; then it is `Stopped`. With the
    /// job come the last lines that it said.
    pub async fn release(&self, app: &App, phase: Phase, progress: &Progress) -> Result<(Job, Vec<String>), JobError> {
        let wish = Wish {
            command: JobCommand::line(&phase.line)?,
            size: None,
            limit: None,
            env: Default::default(),
            attended: false,
            by: phase.by,
        };
        let ground = Ground { version: phase.version, slug: &phase.slug, config: &phase.config };
        let (new, workload) = self.compose(app, JobKind::Release, None, wish, &ground).await?;
        let job = new.job.clone();
        self.0.rooms.output.begin(workload.id.clone(), job.id);
        if let Err(error) = self.0.rooms.store.add_jobs(app.id, vec![new], u32::MAX, None).await {
            self.0.rooms.output.close(&workload.id);
            return Err(error.into());
        }
        crate::server::steps::reached("job.recorded");
        let lines = self.lines(&job, true).await;
        self.choose().await?;
        let mut last = std::collections::VecDeque::new();
        let mut lines = std::pin::pin!(lines);
        let mut stopped = false;
        loop {
            tokio::select! {
                line = lines.next() => match line {
                    Some(line) => tell(line, &mut last, progress).await,
                    None => break,
                },
                () = progress.cancelled().cancelled(), if !stopped => {
                    stopped = true;
                    self.stop(job.id).await?;
                }
            }
        }
        let job = self.ended(app.id, job.id).await?;
        debug_assert!(matches!(job.state, JobState::Ended(_)));
        Ok((job, last.into()))
    }
}

async fn tell(line: LogLine, last: &mut std::collections::VecDeque<String>, progress: &Progress) {
    if line.source == LogSource::Platform {
        return;
    }
    progress.line(format!("       {}", line.text)).await;
    last.push_back(line.text);
    if last.len() > LAST_LINES {
        last.pop_front();
    }
}
