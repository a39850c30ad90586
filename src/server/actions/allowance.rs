//! How often something may be asked: so many at once, then one at a time, per asker.
//!
//! The generic cell rate algorithm: per asker one number, the time by which all it has taken will be paid off. Memory
//! is bounded; when full, those who have paid off are forgotten first, then those who owe least. Askers are spread over
//! several locks, each held for one look into a map: every request of the API comes by here.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::ActionError;

/// Locks that askers are spread over.
const SHARDS: usize = 16;
/// Askers remembered behind each.
const REMEMBERED: usize = 4096;

/// An allowance for each asker `K`.
#[derive(Debug)]
pub struct Allowance<K> {
    burst: u32,
    every: Duration,
    spread: RandomState,
    shards: [Mutex<HashMap<K, Instant>>; SHARDS],
}

impl<K: Hash + Eq + Clone> Allowance<K> {
    /// `burst` at once, then as many again evenly over `period`. A `burst` of 0 allows everything.
    pub fn new(burst: u32, period: Duration) -> Self {
        let shards = std::array::from_fn(|_| Mutex::default());
        Self { burst, every: period / burst.max(1), spread: RandomState::new(), shards }
    }

    /// Takes one, or says when there will be one.
    pub fn take(&self, asker: &K) -> Result<(), ActionError> {
        self.take_at(asker, Instant::now()).map_err(|wait| ActionError::TooMany { retry_after: whole_seconds(wait) })
    }

    /// Gives one back: what was asked turned out to be welcome.
    pub fn give_back(&self, asker: &K) {
        let mut debts = self.shard(asker).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(debt) = debts.get_mut(asker) {
            *debt = debt.checked_sub(self.every).unwrap_or(*debt);
        }
    }

    fn shard(&self, asker: &K) -> &Mutex<HashMap<K, Instant>> {
        // Within 0..SHARDS by construction.
        &self.shards[self.spread.hash_one(asker) as usize % SHARDS]
    }

    fn take_at(&self, asker: &K, now: Instant) -> Result<(), Duration> {
        if self.burst == 0 {
            return Ok(());
        }
        let mut debts = self.shard(asker).lock().unwrap_or_else(PoisonError::into_inner);
        let debt = debts.get(asker).map_or(now, |debt| (*debt).max(now));
        let wait = (debt + self.every).saturating_duration_since(now + self.every * self.burst);
        if !wait.is_zero() {
            return Err(wait);
        }
        if debts.len() >= REMEMBERED && !debts.contains_key(asker) {
            make_room(&mut debts, now);
        }
        debts.insert(asker.clone(), debt + self.every);
        Ok(())
    }
}

fn make_room<K: Hash + Eq>(debts: &mut HashMap<K, Instant>, now: Instant) {
    debts.retain(|_, debt| *debt > now);
    if debts.len() > REMEMBERED / 2 {
        let mut all: Vec<Instant> = debts.values().copied().collect();
        let middle = all.len() / 2;
        let (_, least, _) = all.select_nth_unstable(middle);
        let least = *least;
        debts.retain(|_, debt| *debt > least);
    }
}

fn whole_seconds(wait: Duration) -> Duration {
    Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_one_at_a_time() {
        let (allowance, start) = (Allowance::new(3, Duration::from_secs(30)), Instant::now());
        for _ in 0..3 {
            assert!(allowance.take_at(&"a", start).is_ok());
        }
        assert_eq!(allowance.take_at(&"a", start), Err(Duration::from_secs(10)));
        assert!(allowance.take_at(&"b", start).is_ok(), "another asker has its own");
        assert!(allowance.take_at(&"a", start + Duration::from_secs(10)).is_ok());
        assert!(allowance.take_at(&"a", start + Duration::from_secs(11)).is_err());
        allowance.give_back(&"a");
        assert!(allowance.take_at(&"a", start + Duration::from_secs(11)).is_ok());
        for _ in 0..3 {
            assert!(allowance.take_at(&"a", start + Duration::from_secs(60)).is_ok(), "all is forgiven");
        }
        assert!(allowance.take_at(&"a", start + Duration::from_secs(60)).is_err());
    }

    #[test]
    fn memory_is_bounded_and_the_worst_are_remembered() {
        let (allowance, start) = (Allowance::new(2, Duration::from_secs(60)), Instant::now());
        assert!(allowance.take_at(&-1, start).is_ok());
        assert!(allowance.take_at(&-1, start).is_ok());
        for asker in 0..3 * (SHARDS * REMEMBERED) as i64 {
            assert!(allowance.take_at(&asker, start).is_ok());
        }
        assert!(allowance.shards.iter().all(|shard| shard.lock().unwrap().len() <= REMEMBERED));
        assert!(allowance.take_at(&-1, start).is_err(), "the one who asks most is not forgotten");
    }

    #[test]
    fn waits_are_told_in_whole_seconds() {
        assert_eq!(whole_seconds(Duration::from_millis(1)), Duration::from_secs(1));
        assert_eq!(whole_seconds(Duration::from_secs(2)), Duration::from_secs(2));
    }
}
