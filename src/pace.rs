//! Keeps reads within a rate.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use silt_core::throttle::Throttle;

/// A rate limit that several readers share.
#[derive(Debug)]
pub struct Pace {
    throttle: Mutex<Throttle>,
    clock: Clock,
}

impl Pace {
    /// At most this many bytes per second; `None` for no limit.
    #[must_use]
    pub fn new(bytes_per_second: Option<u64>, clock: Clock) -> Self {
        Self {
            throttle: Mutex::new(Throttle::new(bytes_per_second)),
            clock,
        }
    }

    /// Waits until another read may begin.
    pub async fn wait(&self) {
        loop {
            let now_ms = self.clock.now().monotonic_ms;
            let wait_ms = self.throttle(|throttle| throttle.wait_ms(now_ms));
            if wait_ms == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
    }

    /// Charges bytes that were read.
    pub fn charge(&self, bytes: u64) {
        let now_ms = self.clock.now().monotonic_ms;
        self.throttle(|throttle| throttle.charge(bytes, now_ms));
    }

    fn throttle<T>(&self, work: impl FnOnce(&mut Throttle) -> T) -> T {
        work(&mut self.throttle.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
