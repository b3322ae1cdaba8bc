//! One memory budget for the changes of all feeds.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Bytes per permit: a semaphore can't have as many permits as there may be bytes.
const UNIT_BYTES: u64 = 1024;

/// How often the feeds are asked to flush while a reader waits for memory.
const PRESS_EVERY_MS: u64 = 500;

/// Feeds that may read a large change concurrently.
const TURNS: usize = 1;

/// Bounds the encoded bytes in memory, across all feeds.
///
/// When the budget is used up, the feeds are asked to flush, and readers wait until memory is free.
#[derive(Clone, Debug)]
pub struct Budget {
    units: Arc<Semaphore>,
    all_units: u32,
    pressure: Arc<Notify>,
    turns: Arc<Semaphore>,
}

/// Permission to read a large change, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Budget {
    /// A budget of this size.
    #[must_use]
    pub fn new(limit_bytes: u64) -> Self {
        let all_units = u32::try_from(limit_bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX >> 3);
        Self {
            units: Arc::new(Semaphore::new(all_units as usize)),
            all_units,
            pressure: Arc::new(Notify::new()),
            turns: Arc::new(Semaphore::new(TURNS)),
        }
    }

    /// Waits for permission to read a large change. Its size is known only once several copies of it are in memory:
    /// without turns, all feeds could be in that state at once.
    pub async fn turn(&self) -> Turn {
        // The semaphore is never closed.
        let permit = Arc::clone(&self.turns).acquire_owned().await.ok();
        Turn { _permit: permit }
    }

    /// The memory in use.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        let free = self.units.available_permits() as u64;
        u64::from(self.all_units).saturating_sub(free) * UNIT_BYTES
    }

    /// A new share, for one feed.
    #[must_use]
    pub fn share(&self) -> Share {
        Share {
            budget: self.clone(),
            held_units: 0,
        }
    }

    /// Waits until a feed has to wait for memory.
    pub async fn pressed(&self) {
        self.pressure.notified().await;
    }

    /// Signals pressure, then waits until it may be signalled again.
    async fn press_again(&self) {
        self.pressure.notify_one();
        tokio::time::sleep(Duration::from_millis(PRESS_EVERY_MS)).await;
    }

    /// The size of the budget.
    #[must_use]
    pub fn limit_bytes(&self) -> u64 {
        u64::from(self.all_units) * UNIT_BYTES
    }

    /// The permits for this many bytes, at most all of them, so that a change larger than the budget can still be
    /// read when nothing else is in memory.
    fn units_of(&self, bytes: u64) -> u32 {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        units.min(self.all_units)
    }

    /// Takes memory once that much is free. Unlike [`Budget::take`] it doesn't queue, so no reader has to wait for it.
    pub async fn spare(&self, bytes: u64) -> Taken {
        let units = self.units_of(bytes);
        loop {
            if let Ok(permit) = self.units.try_acquire_many(units) {
                permit.forget();
                let budget = self.clone();
                return Taken { budget, units };
            }
            self.press_again().await;
        }
    }

    /// Takes memory, and waits for it in a queue if necessary.
    pub async fn take(&self, bytes: u64) -> Taken {
        let units = self.units_of(bytes);
        let mut waiting = pin!(self.units.acquire_many(units));
        // Pressure is signalled repeatedly: changes that were in transit at the last flush fill batches later.
        let permit = loop {
            tokio::select! {
                biased;
                permit = &mut waiting => break permit,
                () = self.press_again() => {}
            }
        };
        match permit {
            Ok(permit) => permit.forget(),
            // The semaphore is never closed.
            Err(_) => std::future::pending().await,
        }
        Taken {
            budget: self.clone(),
            units,
        }
    }
}

/// Memory in transit from a reader to its feed's share. Returned when dropped.
#[derive(Debug)]
pub struct Taken {
    budget: Budget,
    units: u32,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.budget.units.add_permits(self.units as usize);
    }
}

/// The part of the budget that one feed holds.
#[derive(Debug)]
pub struct Share {
    budget: Budget,
    held_units: u64,
}

impl Share {
    /// Adds memory that a reader took.
    pub fn add(&mut self, mut taken: Taken) {
        self.held_units += u64::from(std::mem::take(&mut taken.units));
    }

    /// Returns what exceeds the bytes that the feed now holds in memory.
    pub fn shrink_to(&mut self, buffered_bytes: u64) {
        let needed = buffered_bytes.div_ceil(UNIT_BYTES);
        if let Some(surplus @ 1..) = self.held_units.checked_sub(needed) {
            self.held_units = needed;
            self.budget
                .units
                .add_permits(usize::try_from(surplus).unwrap_or(0));
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_budget_signals_pressure_and_waits_until_a_share_shrinks() {
        let budget = Budget::new(10 * UNIT_BYTES);
        let mut share = budget.share();
        share.add(budget.take(6 * UNIT_BYTES).await);
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { budget.take(5 * UNIT_BYTES).await }
        });
        budget.pressed().await;
        assert!(!waiting.is_finished());
        share.shrink_to(5 * UNIT_BYTES);
        drop(waiting.await.unwrap());
        drop(share);
        assert_eq!(
            budget.units.available_permits(),
            10,
            "all permits are returned"
        );
    }

    #[tokio::test]
    async fn turns_are_taken_one_after_another() {
        let budget = Budget::new(UNIT_BYTES);
        let first = budget.turn().await;
        let mut second = pin!(budget.turn());
        assert!(futures::poll!(second.as_mut()).is_pending());
        drop(first);
        second.await;
    }

    #[tokio::test]
    async fn taking_spare_memory_signals_pressure_and_does_not_block_readers() {
        let budget = Budget::new(10 * UNIT_BYTES);
        let held = budget.take(6 * UNIT_BYTES).await;
        let mut spare = pin!(budget.spare(5 * UNIT_BYTES));
        assert!(futures::poll!(spare.as_mut()).is_pending());
        budget.pressed().await;
        drop(budget.take(4 * UNIT_BYTES).await);
        drop(held);
        drop(spare.await);
        assert_eq!(budget.limit_bytes(), 10 * UNIT_BYTES);
        drop(budget.spare(1 << 40).await);
        assert_eq!(budget.used_bytes(), 0);
    }

    #[tokio::test]
    async fn a_change_larger_than_the_budget_takes_all_of_it() {
        let budget = Budget::new(UNIT_BYTES);
        let taken = budget.take(1 << 40).await;
        assert_eq!(budget.units.available_permits(), 0);
        drop(taken);
        assert_eq!(budget.units.available_permits(), 1);
    }
}
