//! Slowing those who try credentials: after some failures an address waits for each further answer.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use moka::sync::Cache;
use tokio::sync::Semaphore;

/// Failures of an address are counted for as long.
const WINDOW: Duration = Duration::from_secs(60);
/// What an answer waits for when its address failed too often.
const DELAY: Duration = Duration::from_secs(1);
/// Answers that wait at the same time; above that they are refused.
const WAITING: usize = 256;
/// Addresses that are remembered.
const ADDRESSES: u64 = 100_000;

/// Counts failures by address. Good credentials are never slowed, whatever else comes from their address.
pub(super) struct Failures {
    counts: Cache<IpAddr, Arc<AtomicU32>>,
    waiting: Semaphore,
    allowed: u32,
}

impl Failures {
    pub(super) fn new(allowed: u32) -> Self {
        let counts = Cache::builder().max_capacity(ADDRESSES).time_to_live(WINDOW).build();
        Self { counts, waiting: Semaphore::new(WAITING), allowed }
    }

    /// Whether the next failure of an address would be refused without waiting: then nothing is looked up for it.
    pub(super) fn are_too_many(&self, address: Option<IpAddr>) -> bool {
        let count = address.and_then(|address| self.counts.get(&network(address)));
        let counted = count.is_some_and(|count| count.load(Ordering::Relaxed) >= self.allowed);
        counted && self.waiting.available_permits() == 0
    }

    /// Counts a failure, and waits if there were too many. `false`: too many wait already.
    pub(super) async fn failed(&self, address: Option<IpAddr>) -> bool {
        let Some(address) = address else { return true };
        let count = self.counts.get_with(network(address), Arc::default);
        if count.fetch_add(1, Ordering::Relaxed) < self.allowed {
            return true;
        }
        match self.waiting.try_acquire() {
            Ok(_waits) => {
                tokio::time::sleep(DELAY).await;
                true
            }
            Err(_) => false,
        }
    }
}

/// Who counts as one address: in version 6 a whole /64, which one customer has at least.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn the_third_failure_waits_and_others_do_not() {
        let failures = Failures::new(2);
        let (one, other) = (Some([192, 0, 2, 1].into()), Some([192, 0, 2, 2].into()));
        let started = Instant::now();
        assert!(failures.failed(one).await && failures.failed(one).await);
        assert_eq!(started.elapsed(), Duration::ZERO);
        assert!(failures.failed(one).await);
        assert_eq!(started.elapsed(), DELAY);
        assert!(failures.failed(other).await);
        assert_eq!(started.elapsed(), DELAY);
        let all = failures.waiting.acquire_many(u32::try_from(WAITING).unwrap()).await.unwrap();
        assert!(!failures.failed(one).await, "nobody waits without end");
        assert!(failures.are_too_many(one) && !failures.are_too_many(other));
        drop(all);
    }

    #[test]
    fn version_6_counts_by_64_bits() {
        let network = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network("::ffff:192.0.2.1"), "192.0.2.1");
    }
}
