//! How long a stream waits for an answer.
//!
//! A server normally answers within [`super::AWAIT_LIMIT_MS`], whether there are changes or not. But to find the next
//! change of a quiet collection it may have to search hours of oplog, without an answer until it has. If a stream
//! gives up, the search starts again from the beginning. So each timeout in a row doubles the time that the next answer may take.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use silt_core::position::Position;

/// Doublings at most: 16 times the limit.
const DOUBLINGS_MAX: u32 = 4;

/// Counts the consecutive timeouts of one feed's streams, and the connections that the server cut at one position.
#[derive(Clone, Debug)]
pub struct Patience {
    limit: Duration,
    timeouts: Arc<AtomicU32>,
    cuts: Arc<Mutex<Option<(Position, u32)>>>,
}

impl Patience {
    /// Waits this long at first.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            timeouts: Arc::default(),
            cuts: Arc::default(),
        }
    }

    /// How long to wait for the next answer.
    #[must_use]
    pub fn limit(&self) -> Duration {
        let doublings = self.timeouts.load(Ordering::Relaxed).min(DOUBLINGS_MAX);
        self.limit * (1 << doublings)
    }

    /// Notes that no answer came in time.
    pub fn note_timeout(&self) {
        self.timeouts.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that the server answered.
    pub fn note_answer(&self) {
        self.timeouts.store(0, Ordering::Relaxed);
    }

    /// Notes that the connection was cut while the change after this position was awaited. Returns how often that has
    /// happened there in a row.
    pub fn note_cut(&self, position: &Position) -> u32 {
        let mut cuts = self.cuts.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = match &*cuts {
            Some((known, earlier)) if known == position => *earlier,
            _ => 0,
        };
        *cuts = Some((position.clone(), earlier + 1));
        earlier + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use silt_core::position::ClusterTime;

    #[test]
    fn cuts_are_counted_as_long_as_the_position_stays() {
        let patience = Patience::new(Duration::from_mins(1));
        let at = |seconds| {
            Position::At(ClusterTime {
                seconds,
                increment: 1,
            })
        };
        let cuts = [1, 1, 1, 2, 1].map(|seconds| patience.note_cut(&at(seconds)));
        assert_eq!(cuts, [1, 2, 3, 1, 1]);
    }

    #[test]
    fn the_limit_doubles_with_each_timeout_until_an_answer_resets_it() {
        let patience = Patience::new(Duration::from_mins(1));
        let mut limits = Vec::new();
        for _ in 0..6 {
            limits.push(patience.limit().as_secs());
            patience.note_timeout();
        }
        assert_eq!(limits, [60, 120, 240, 480, 960, 960]);
        patience.note_answer();
        assert_eq!(patience.limit().as_secs(), 60);
    }
}
