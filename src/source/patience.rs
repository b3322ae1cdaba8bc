//! How long a stream waits for an answer.
//!
//! A server that answers normally does so within [`super::AWAIT_LIMIT_MS`], be there changes or not. But
//! it may also look through hours of oplog for the next change of a quiet collection, without a word
//! and without remembering how far it came. A stream that is cut off too early would never get there:
//! so each silence in a row is given twice the time of the one before.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Doublings at most: 16 times the limit.
const DOUBLINGS_MAX: u32 = 4;

/// Counts the silences of one feed's streams.
#[derive(Clone, Debug)]
pub struct Patience {
    limit: Duration,
    silences: Arc<AtomicU32>,
}

impl Patience {
    /// Waits this long at first.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            silences: Arc::default(),
        }
    }

    /// How long to wait for the next answer.
    #[must_use]
    pub fn limit(&self) -> Duration {
        let doublings = self.silences.load(Ordering::Relaxed).min(DOUBLINGS_MAX);
        self.limit * (1 << doublings)
    }

    /// Nothing came in time.
    pub fn note_silence(&self) {
        self.silences.fetch_add(1, Ordering::Relaxed);
    }

    /// The server answered.
    pub fn note_answer(&self) {
        self.silences.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_with_each_silence_and_begins_anew_with_an_answer() {
        let patience = Patience::new(Duration::from_mins(1));
        let mut limits = Vec::new();
        for _ in 0..6 {
            limits.push(patience.limit().as_secs());
            patience.note_silence();
        }
        assert_eq!(limits, [60, 120, 240, 480, 960, 960]);
        patience.note_answer();
        assert_eq!(patience.limit().as_secs(), 60);
    }
}
