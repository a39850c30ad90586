use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Invalid, ProcessType};

/// How many replicas of each process type an app wishes, and how large each is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Formation {
    /// Process type → replicas. A type that is not named runs 1 replica if it is `web`, else none.
    pub replicas: BTreeMap<ProcessType, u32>,
    /// The size of every replica.
    pub size: Size,
}

impl Formation {
    /// Replicas that one process type may have.
    pub const MAX_REPLICAS: u32 = 100;

    /// Replicas wished of `process`.
    pub fn replicas_of(&self, process: &ProcessType) -> u32 {
        self.replicas.get(process).copied().unwrap_or(u32::from(process.is_web()))
    }

    /// This with other counts and perhaps another size.
    pub fn scaled(&self, counts: BTreeMap<ProcessType, u32>, size: Option<Size>) -> Result<Self, Invalid> {
        if let Some((process, count)) = counts.iter().find(|(_, count)| **count > Self::MAX_REPLICAS) {
            return Err(Invalid::new(
                "replicas",
                format!("of {process} must be at most {}, not {count}", Self::MAX_REPLICAS),
            ));
        }
        let mut replicas = self.replicas.clone();
        replicas.extend(counts);
        Ok(Self { replicas, size: size.unwrap_or(self.size) })
    }
}

impl Default for Formation {
    fn default() -> Self {
        Self { replicas: BTreeMap::new(), size: Size(500) }
    }
}

/// A replica's size in thousandths: 1000 is 1 GB (10⁹ bytes) of memory and 200 thousandths of a CPU, burstable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Size(u32);

impl Size {
    /// From the wire: a number of 0.1 to 384; 100 and more whole thousandths are the 0.1.0 client's.
    pub fn parse(number: f64) -> Result<Self, Invalid> {
        let size = if number >= 100.0 && number.fract() == 0.0 { number / 1000.0 } else { number };
        if !(0.1..=384.0).contains(&size) {
            return Err(Invalid::new("size", "must be between 0.1 and 384"));
        }
        Ok(Self((size * 1000.0).round() as u32))
    }

    /// From the store.
    pub fn from_milli(milli: u32) -> Self {
        Self(milli)
    }

    /// In thousandths.
    pub fn milli(self) -> u32 {
        self.0
    }

    /// As on the wire.
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / 1000.0
    }

    /// Memory limit in bytes.
    pub fn memory_bytes(self) -> u64 {
        u64::from(self.0) * 1_000_000
    }

    /// CPU share in thousandths of a core: a weight under contention, not a ceiling.
    pub fn cpu_milli(self) -> u64 {
        u64::from(self.0) / 5
    }
}
