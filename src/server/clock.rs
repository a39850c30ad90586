//! What time it is, and how much of it has passed: two questions with two clocks. The one on the wall is set by people
//! and by NTP, so it may jump; what has passed only grows. Values that are handed in, so that a test can let a year pass.

use std::sync::Arc;
use std::time::Duration;

#[cfg(not(test))]
use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// Tells the time; cheap to clone.
#[derive(Debug, Clone)]
pub struct Clock {
    boot: Arc<str>,
    #[cfg(test)]
    turned: Arc<testing::Turned>,
}

/// A point of the time that only grows, the same for every process of this machine between two of its starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// Which start of the machine; moments of two starts cannot be compared.
    pub boot: Arc<str>,
    /// Since some point of that start. Time asleep does not count.
    pub elapsed: Duration,
}

impl Clock {
    /// The machine's clocks.
    pub fn system() -> Self {
        // Linux' name for this start of the machine. Without one, each server's moments are its own.
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map(|text| text.trim().to_owned())
            .unwrap_or_else(|_| uuid::Uuid::new_v4().to_string());
        Self {
            boot: boot.into(),
            #[cfg(test)]
            turned: Arc::default(),
        }
    }

    /// Now, on the wall.
    #[cfg(not(test))]
    pub fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    /// Now, as time that only grows.
    #[cfg(not(test))]
    pub fn moment(&self) -> Moment {
        Moment { boot: self.boot.clone(), elapsed: elapsed() }
    }
}

fn elapsed() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    let (seconds, nanoseconds) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds)
}

/// Hands that a test can turn, for every clone of a clock.
#[cfg(test)]
mod testing {
    use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::SeqCst};
    use std::time::Duration;

    use jiff::Timestamp;

    use super::{Clock, Moment, elapsed};

    #[derive(Debug, Default)]
    pub(super) struct Turned {
        wall: AtomicI64,
        passed: AtomicU64,
        boots: AtomicU64,
    }

    impl Clock {
        pub(crate) fn now(&self) -> Timestamp {
            Timestamp::now() + jiff::SignedDuration::from_secs(self.turned.wall.load(SeqCst))
        }

        pub(crate) fn moment(&self) -> Moment {
            let passed = Duration::from_secs(self.turned.passed.load(SeqCst));
            Moment {
                boot: format!("{}-{}", self.boot, self.turned.boots.load(SeqCst)).into(),
                elapsed: elapsed() + passed,
            }
        }

        /// Moves the hands on the wall and nothing else.
        pub(crate) fn advance(&self, by: Duration) {
            self.turned.wall.fetch_add(by.as_secs() as i64, SeqCst);
        }

        /// Moves them the other way.
        pub(crate) fn set_back(&self, by: Duration) {
            self.turned.wall.fetch_sub(by.as_secs() as i64, SeqCst);
        }

        /// Lets time pass, on both clocks.
        pub(crate) fn pass(&self, by: Duration) {
            self.advance(by);
            self.turned.passed.fetch_add(by.as_secs(), SeqCst);
        }

        /// The machine starts anew.
        pub(crate) fn reboot(&self) {
            self.turned.boots.fetch_add(1, SeqCst);
        }
    }
}
