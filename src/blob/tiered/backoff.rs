//! How long to wait before something that failed is tried again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Doubles with each failure, up to a limit. A part of it is left to chance, so that nodes that failed at the same
/// time do not come back at the same time.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    pub first: Duration,
    pub longest: Duration,
}

impl Backoff {
    /// How long to wait after so many failures in a row: from a half to the whole of the doubled time.
    pub fn after(&self, failures: u32) -> Duration {
        let doubled = self.first.saturating_mul(1 << failures.saturating_sub(1).min(20));
        let whole = doubled.min(self.longest);
        let chance = u32::try_from(RandomState::new().hash_one(failures) % 1024).unwrap_or_default();
        whole / 2 + whole * chance / 2048
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_its_limit() {
        let backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(30) };
        for (failures, whole) in [(1, 1), (2, 2), (3, 4), (6, 30), (u32::MAX, 30)] {
            for _ in 0..100 {
                let wait = backoff.after(failures);
                let whole = Duration::from_secs(whole);
                assert!(whole / 2 <= wait && wait <= whole, "{failures}: {wait:?}");
            }
        }
    }
}
