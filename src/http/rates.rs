//! Limits on how many requests a caller or an address may make.

use std::net::IpAddr;
use std::num::NonZeroU32;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::hash::Hash;

use super::error::ApiError;
use crate::callers::network;

/// A caller who was idle may make this many seconds' worth of requests at once.
const BURST_SECONDS: NonZeroU32 = match NonZeroU32::new(10) {
    Some(seconds) => seconds,
    None => NonZeroU32::MIN,
};

/// The limits of this node. Without one, nothing is counted.
pub struct RateLimits {
    callers: Option<DefaultKeyedRateLimiter<String>>,
    addresses: Option<DefaultKeyedRateLimiter<IpAddr>>,
    clock: DefaultClock,
}

impl RateLimits {
    /// Requests per second.
    pub fn new(caller: Option<NonZeroU32>, address: Option<NonZeroU32>) -> Self {
        let quota =
            |rate: NonZeroU32| Quota::per_second(rate).allow_burst(rate.saturating_mul(BURST_SECONDS));
        Self {
            callers: caller.map(|rate| RateLimiter::keyed(quota(rate))),
            addresses: address.map(|rate| RateLimiter::keyed(quota(rate))),
            clock: DefaultClock::default(),
        }
    }

    pub(super) fn caller(&self, subject: &str) -> Result<(), ApiError> {
        match &self.callers {
            Some(limiter) if !subject.is_empty() => self.check(limiter, &subject.to_owned()),
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn address(&self, address: Option<IpAddr>) -> Result<(), ApiError> {
        match (&self.addresses, address) {
            (Some(limiter), Some(address)) => self.check(limiter, &network(address)),
            _ => Ok(()),
        }
    }

    fn check<K: Clone + Hash + Eq>(
        &self,
        limiter: &DefaultKeyedRateLimiter<K>,
        key: &K,
    ) -> Result<(), ApiError> {
        limiter.check_key(key).map_err(|until| {
            let wait = until.wait_time_from(self.clock.now());
            // Whole seconds, rounded up: who comes back a moment early would be sent away again.
            ApiError::TooManyRequests { retry_after: wait.as_secs() + 1 }
        })
    }

    /// Forgets those who could make a full burst again anyway.
    pub fn forget_idle(&self) {
        if let Some(limiter) = &self.callers {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
        if let Some(limiter) = &self.addresses {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }
}
