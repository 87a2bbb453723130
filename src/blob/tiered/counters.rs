//! What near and far did, for `/metrics` and for tests that count.

use metrics::{Counter, Gauge};

use super::super::filling::FillError;
use super::Waiting;

/// One counter for each kind of event.
#[derive(Clone)]
pub struct TieredCounters {
    /// Blobs that were opened from near.
    pub near_hits: Counter,
    /// Blobs that were fetched and found to be right.
    pub fills: Counter,
    /// Fetches that ended because far did not answer, or not to the end.
    pub fills_unavailable: Counter,
    /// Fetches that brought other bytes than the digest names.
    pub fills_wrong: Counter,
    /// Fetches that ended for another reason: a full disk, a refused credential.
    pub fills_broken: Counter,
    pub evictions: Counter,
    /// Bytes that near has, when it is bounded.
    pub near_bytes: Gauge,
    pub shipped: Counter,
    pub ship_failures: Counter,
    /// What waits in the outbox.
    pub outbox_entries: Gauge,
    /// Age of the oldest of them in seconds.
    pub outbox_oldest: Gauge,
}

impl TieredCounters {
    /// Counts nothing.
    pub fn noop() -> Self {
        Self {
            near_hits: Counter::noop(),
            fills: Counter::noop(),
            fills_unavailable: Counter::noop(),
            fills_wrong: Counter::noop(),
            fills_broken: Counter::noop(),
            evictions: Counter::noop(),
            near_bytes: Gauge::noop(),
            shipped: Counter::noop(),
            ship_failures: Counter::noop(),
            outbox_entries: Gauge::noop(),
            outbox_oldest: Gauge::noop(),
        }
    }

    pub(super) fn show_near(&self, bytes: u64) {
        self.near_bytes.set(gauge(bytes));
    }

    pub(super) fn show_outbox(&self, waiting: &Waiting) {
        self.outbox_entries.set(gauge(waiting.blobs as u64));
        self.outbox_oldest.set(waiting.oldest.unwrap_or_default().as_secs_f64());
    }

    pub(super) fn fill_failed(&self, error: &FillError) {
        let counter = match error {
            FillError::Unavailable(_) => &self.fills_unavailable,
            FillError::WrongBytes(_) => &self.fills_wrong,
            FillError::Broken(_) => &self.fills_broken,
        };
        counter.increment(1);
    }
}

/// Gauges are floating; near a petabyte a byte more or less is lost, which nobody sees.
#[expect(clippy::cast_precision_loss, reason = "a gauge is read by people")]
fn gauge(number: u64) -> f64 {
    number as f64
}
