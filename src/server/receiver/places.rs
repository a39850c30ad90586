//! How many may be at work at once: in all, and of one person's, so that nobody has every place by being slow.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::server::domain::Email;

/// All places.
#[derive(Debug)]
pub(super) struct Places {
    all: Arc<Semaphore>,
    of_one: usize,
    people: Mutex<HashMap<Email, Arc<Semaphore>>>,
}

/// One of them; free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    _own: OwnedSemaphorePermit,
    _one: OwnedSemaphorePermit,
}

impl Places {
    pub(super) fn new(all: usize, of_one: usize) -> Self {
        let all = Arc::new(Semaphore::new(all.max(1)));
        Self { all, of_one: of_one.max(1), people: Mutex::default() }
    }

    /// Waits for one; who has as many as a person may have keeps nobody else waiting.
    pub(super) async fn take(&self, person: &Email) -> Result<Place, AcquireError> {
        let own = self.own(person).acquire_owned().await?;
        Ok(Place { _own: own, _one: self.take_any().await? })
    }

    /// Waits for one that is for nobody.
    pub(super) async fn take_any(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        Arc::clone(&self.all).acquire_owned().await
    }

    fn own(&self, person: &Email) -> Arc<Semaphore> {
        let mut people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
        // Of whoever has no place and waits for none, nothing has to be known.
        people.retain(|_, own| Arc::strong_count(own) > 1);
        let own = people.entry(person.clone()).or_insert_with(|| Arc::new(Semaphore::new(self.of_one)));
        Arc::clone(own)
    }
}
