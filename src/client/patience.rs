//! Answers that take their time: who waits at a terminal sees that it passes, and who waits no longer learns that the platform
//! goes on.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, interval_at};

use super::Client;
use super::error::{Error, Kind};

/// Until it is told that time passes, and again.
const A_WHILE: Duration = Duration::from_secs(15);

impl Client {
    /// Waits for the answer to a change of an app. The platform finishes what it has begun, whoever waits for it.
    pub async fn patiently<T, E: Into<Error>>(
        &self,
        app: &str,
        doing: impl AsRef<str>,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Error> {
        self.output.waiting(doing);
        let begun = Instant::now();
        let (mut answer, mut interrupted) = (pin!(answer), pin!(tokio::signal::ctrl_c()));
        let mut passing = interval_at(begun + A_WHILE, A_WHILE);
        let left = loop {
            tokio::select! {
                answered = &mut answer => match answered.map_err(Into::into) {
                    Err(error) if error.kind == Kind::Unreachable => break error,
                    answered => return answered,
                },
                _ = &mut interrupted => {
                    break Error::new(Kind::Interrupted, "interrupted; what the platform has begun, it finishes");
                }
                _ = passing.tick() => {
                    self.output.waiting(format!("… {} s so far", begun.elapsed().as_secs()));
                }
            }
        };
        Err(left
            .hint(format!("`gigalixir ps -a {app}` tells what runs, `gigalixir releases -a {app}` what became of it")))
    }
}
