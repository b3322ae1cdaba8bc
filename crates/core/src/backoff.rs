//! Delays between attempts: exponential, with jitter, bounded.

use crate::failure::Disposition;
use crate::limits::RETRY_DELAY_MAX_MS;

/// Counts the failures in a row of one operation and says how long to wait after each.
#[derive(Clone, Debug)]
pub struct Backoff {
    first_delay_ms: u64,
    failures: u32,
    random: fastrand::Rng,
}

impl Backoff {
    /// `seed` makes the jitter repeatable. Feeds get different seeds, so that they don't retry all at once.
    #[must_use]
    pub fn new(first_delay_ms: u64, seed: u64) -> Self {
        Self {
            first_delay_ms,
            failures: 0,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// Counts a failure and returns the delay before the next attempt, in milliseconds: the doubled delay less up
    /// to a quarter of it, or the server's Retry-After if that is longer; the longest delay for a halt; none for
    /// the first stale view.
    pub fn failed(&mut self, disposition: Disposition) -> u64 {
        self.failures = self.failures.saturating_add(1);
        match disposition {
            Disposition::Reload if self.failures == 1 => 0,
            Disposition::Reload => self.doubled(0),
            Disposition::Halt | Disposition::HistoryLost { .. } | Disposition::Exit => {
                RETRY_DELAY_MAX_MS
            }
            Disposition::Retry { after_ms } => self.doubled(after_ms.unwrap_or(0)),
        }
    }

    fn doubled(&mut self, least_ms: u64) -> u64 {
        let doublings = (self.failures - 1).min(20);
        let full = self
            .first_delay_ms
            .saturating_mul(1 << doublings)
            .min(RETRY_DELAY_MAX_MS);
        (full - self.random.u64(0..=full / 4)).max(least_ms)
    }

    /// The operation succeeded: the next failure starts from the first delay.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Failures in a row so far.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_with_jitter_up_to_the_longest() {
        let mut backoff = Backoff::new(1000, 7);
        for full in [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000] {
            let delay = backoff.failed(Disposition::RETRY);
            assert!((full * 3 / 4..=full).contains(&delay), "{delay} of {full}");
        }
        backoff.succeeded();
        assert!(backoff.failed(Disposition::RETRY) <= 1000);
    }

    #[test]
    fn feeds_that_fail_together_dont_come_back_together() {
        let delays = (0..100).map(|seed| Backoff::new(1000, seed).failed(Disposition::RETRY));
        let (early, late): (Vec<u64>, Vec<u64>) = delays.partition(|delay| *delay < 875);
        assert!(early.len() > 25 && late.len() > 25, "{early:?} {late:?}");
    }

    #[test]
    fn a_servers_wish_is_honoured_and_a_halt_waits_longest() {
        let mut backoff = Backoff::new(10, 7);
        assert_eq!(
            backoff.failed(Disposition::Retry {
                after_ms: Some(90_000)
            }),
            90_000
        );
        assert_eq!(backoff.failed(Disposition::Halt), RETRY_DELAY_MAX_MS);
        assert!(
            backoff.failed(Disposition::Reload) > 0,
            "a second stale view in a row waits"
        );
        backoff.succeeded();
        assert_eq!(backoff.failed(Disposition::Reload), 0);
    }
}
