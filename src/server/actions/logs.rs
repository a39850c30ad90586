//! Reading an app's log.

use futures_util::{Stream, StreamExt, stream};

use super::ActionError;
use super::access::Action;
use super::apps::Apps;
use crate::api::log::LogQuery;
use crate::server::domain::{ProcessType, User};
use crate::server::logs::{LogFilter, format};

/// Old lines when the asker does not say how many, or says it in a way that is no number.
const LINES: usize = 100;

impl Apps {
    /// The app's lines, old ones first, each with its line end; does not end by itself when it follows.
    pub async fn logs(
        &self,
        user: &User,
        name: &str,
        query: LogQuery,
    ) -> Result<impl Stream<Item = String> + Send + use<>, ActionError> {
        let app = self.may(user, name, Action::See).await?;
        let process = query.process.as_deref().map(ProcessType::parse).transpose()?;
        let filter = LogFilter::of(process, query.replica);
        let lines = query.num_lines.and_then(|text| text.trim().parse().ok()).unwrap_or(LINES);
        let follow = query.follow.is_none_or(|text| !text.eq_ignore_ascii_case("false"));
        let lines = if follow {
            self.rooms.logs.follow(&app.name, lines, filter).left_stream()
        } else {
            stream::iter(self.rooms.logs.tail(&app.name, lines, filter).await).right_stream()
        };
        Ok(lines.map(|line| format(&line) + "\n"))
    }
}
