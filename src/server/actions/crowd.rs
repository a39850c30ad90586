//! How many of a kind are here at once: connections of an address, visits of an account.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts guests by their kind `K` and lets in so many of each.
pub struct Crowd<K>(Arc<Inner<K>>);

struct Inner<K> {
    most: usize,
    here: Mutex<HashMap<K, usize>>,
}

/// One of the places of its kind; free again when dropped.
pub struct Place<K: Hash + Eq> {
    of: Arc<Inner<K>>,
    kind: K,
}

impl<K: Hash + Eq + Clone> Crowd<K> {
    /// Nobody is here yet; at most `most` of a kind will be.
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Inner { most, here: Mutex::default() }))
    }

    /// A place, if there is one left.
    pub fn enter(&self, kind: K) -> Option<Place<K>> {
        let mut here = self.0.lock();
        let count = here.entry(kind.clone()).or_default();
        if *count >= self.0.most {
            return None;
        }
        *count += 1;
        Some(Place { of: self.0.clone(), kind })
    }
}

impl<K> Inner<K> {
    fn lock(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq> Drop for Place<K> {
    fn drop(&mut self) {
        let mut here = self.of.lock();
        if let Some(count) = here.get_mut(&self.kind) {
            *count -= 1;
            if *count == 0 {
                here.remove(&self.kind);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_of_a_kind_and_none_are_remembered() {
        let crowd = Crowd::new(2);
        let (first, second) = (crowd.enter("a"), crowd.enter("a"));
        assert!(first.is_some() && second.is_some() && crowd.enter("a").is_none());
        assert!(crowd.enter("b").is_some(), "another kind has its own");
        drop(first);
        assert!(crowd.enter("a").is_some());
        drop(second);
        assert!(crowd.0.lock().is_empty());
    }
}
