//! A circuit breaker: a server that is down is left alone for a while, and asked again by one call at a time.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metrics::Gauge;
use tokio::time::Instant;

/// Opens after failures in a row, and lets one call through when it has rested.
pub struct Breaker {
    state: Mutex<State>,
    /// Failures in a row that open it.
    limit: u32,
    /// How long it stays open before a call may try again.
    rest: Duration,
    /// 0 closed, 1 open, 0.5 while one call tries.
    gauge: Gauge,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        until: Instant,
    },
    /// One call is trying whether the server is back.
    HalfOpen,
}

/// The leave to make one call. Dropped without a word, as when the caller went away, it says nothing about the server.
#[must_use]
pub struct Pass<'a> {
    breaker: &'a Breaker,
    /// This is the call that tries.
    tries: bool,
}

impl Breaker {
    pub fn new(limit: u32, rest: Duration, gauge: Gauge) -> Self {
        gauge.set(0.0);
        Self { state: Mutex::new(State::Closed { failures: 0 }), limit, rest, gauge }
    }

    /// `None`: the server did not answer lately, and it is not time to ask it again.
    pub fn admit(&self) -> Option<Pass<'_>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match *state {
            State::Closed { .. } => Some(Pass { breaker: self, tries: false }),
            State::Open { until } if Instant::now() >= until => {
                self.set(&mut state, State::HalfOpen);
                Some(Pass { breaker: self, tries: true })
            }
            State::Open { .. } | State::HalfOpen => None,
        }
    }

    /// A failure outside of any call, as of a body that broke off.
    pub fn failed(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Closed { failures } = *state {
            let failures = failures.saturating_add(1);
            let next = if failures >= self.limit { self.opened() } else { State::Closed { failures } };
            self.set(&mut state, next);
        }
    }

    fn opened(&self) -> State {
        State::Open { until: Instant::now() + self.rest }
    }

    fn set(&self, state: &mut State, next: State) {
        let (value, told) = match next {
            State::Closed { .. } => (0.0, matches!(state, State::Open { .. } | State::HalfOpen)),
            State::Open { .. } => (1.0, matches!(state, State::Closed { .. })),
            State::HalfOpen => (0.5, false),
        };
        if told && value > 0.0 {
            tracing::warn!(rest = ?self.rest, "S3 does not answer: calls fail at once until it does again");
        } else if told {
            tracing::info!("S3 answers again");
        }
        self.gauge.set(value);
        *state = next;
    }
}

impl Pass<'_> {
    /// The server answered, whatever it said.
    pub fn answered(mut self) {
        self.tries = false;
        let mut state = self.breaker.state.lock().unwrap_or_else(PoisonError::into_inner);
        if *state != (State::Closed { failures: 0 }) {
            self.breaker.set(&mut state, State::Closed { failures: 0 });
        }
    }

    /// The server did not answer, or said that it could not.
    pub fn failed(mut self) {
        if std::mem::take(&mut self.tries) {
            let mut state = self.breaker.state.lock().unwrap_or_else(PoisonError::into_inner);
            let opened = self.breaker.opened();
            self.breaker.set(&mut state, opened);
        } else {
            self.breaker.failed();
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.tries {
            // Nobody knows yet: the next call tries.
            let mut state = self.breaker.state.lock().unwrap_or_else(PoisonError::into_inner);
            self.breaker.set(&mut state, State::Open { until: Instant::now() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: Duration = Duration::from_secs(5);

    fn breaker() -> Breaker {
        Breaker::new(3, REST, Gauge::noop())
    }

    fn fail(breaker: &Breaker, times: u32) {
        for _ in 0..times {
            breaker.admit().unwrap().failed();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_open_it_and_one_call_tries() {
        let breaker = breaker();
        fail(&breaker, 2);
        breaker.admit().unwrap().answered();
        fail(&breaker, 3);
        assert!(breaker.admit().is_none());
        tokio::time::advance(REST).await;
        let tries = breaker.admit().unwrap();
        assert!(breaker.admit().is_none(), "one at a time");
        tries.failed();
        assert!(breaker.admit().is_none());
        tokio::time::advance(REST).await;
        breaker.admit().unwrap().answered();
        fail(&breaker, 2);
        assert!(breaker.admit().is_some(), "it counts from nothing again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_that_was_given_up_lets_the_next_one_try() {
        let breaker = breaker();
        fail(&breaker, 3);
        tokio::time::advance(REST).await;
        drop(breaker.admit().unwrap());
        breaker.admit().unwrap().answered();
        assert!(breaker.admit().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_were_under_way_decide_too() {
        let breaker = breaker();
        let (early, late) = (breaker.admit().unwrap(), breaker.admit().unwrap());
        fail(&breaker, 3);
        early.failed();
        assert!(breaker.admit().is_none());
        late.answered();
        assert!(breaker.admit().is_some());
    }
}
