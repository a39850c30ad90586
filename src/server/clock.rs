//! What time it is. A value that is handed in, so that a test can let a year pass.

use jiff::Timestamp;

/// Tells the time; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    #[cfg(test)]
    shifted: std::sync::Arc<std::sync::atomic::AtomicI64>,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// Now.
    #[cfg(not(test))]
    pub fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    /// Now, as far as this clock was advanced.
    #[cfg(test)]
    pub fn now(&self) -> Timestamp {
        let seconds = self.shifted.load(std::sync::atomic::Ordering::SeqCst);
        Timestamp::now() + std::time::Duration::from_secs(seconds.unsigned_abs())
    }

    /// Lets time pass for every clone of this clock.
    #[cfg(test)]
    pub fn advance(&self, by: std::time::Duration) {
        self.shifted.fetch_add(by.as_secs() as i64, std::sync::atomic::Ordering::SeqCst);
    }
}
