//! The clock, in one place.

use std::time::Instant;

use silt_core::machine::Now;

/// Reads the time for the core.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// A clock whose monotonic time begins now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            started: Instant::now(),
        }
    }

    /// The time.
    #[must_use]
    pub fn now(self) -> Now {
        Now {
            monotonic_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            unix_ms: chrono::Utc::now().timestamp_millis(),
        }
    }

    /// The instant of a monotonic time.
    #[must_use]
    pub fn instant(self, monotonic_ms: u64) -> Instant {
        self.started + std::time::Duration::from_millis(monotonic_ms)
    }
}
