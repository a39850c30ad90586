//! The order to end, as a value that stays: whoever looks later still sees it.

use std::time::Duration;

use tokio::sync::watch;

/// Given by dropping nothing and sending once: the grace.
pub(in crate::server::runtime) type Stop = watch::Receiver<Option<Duration>>;

/// Returns the grace when it is told to stop; never, if nobody can tell it any more.
pub(in crate::server::runtime) async fn told(stop: &mut Stop) -> Duration {
    let grace = stop.wait_for(Option::is_some).await.ok().and_then(|grace| *grace);
    match grace {
        Some(grace) => grace,
        None => std::future::pending().await,
    }
}
