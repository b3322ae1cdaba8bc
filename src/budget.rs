//! One memory budget for the changes of all feeds.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// A semaphore's permits are fewer than bytes may be; a permit stands for so many bytes.
const UNIT_BYTES: u64 = 1024;

/// How often the feeds are asked to flush while a reader waits.
const PRESS_EVERY_MS: u64 = 500;

/// Feeds that may ask for another large change at once.
const TURNS: usize = 1;

/// Bounds the encoded bytes that wait in memory, over all feeds.
///
/// Used up means: the feeds are asked to flush. Still used up means: the readers wait.
#[derive(Clone, Debug)]
pub struct Budget {
    units: Arc<Semaphore>,
    all_units: u32,
    pressure: Arc<Notify>,
    turns: Arc<Semaphore>,
}

/// Lets a feed read a large change, until it is dropped.
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

    /// Waits for a turn to read a large change. How large it is is known only when it is there, some
    /// copies of it in hand: without turns, every feed could be there at once.
    pub async fn turn(&self) -> Turn {
        // The semaphore is never closed.
        let permit = Arc::clone(&self.turns).acquire_owned().await.ok();
        Turn { _permit: permit }
    }

    /// What is taken.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        let free = self.units.available_permits() as u64;
        u64::from(self.all_units).saturating_sub(free) * UNIT_BYTES
    }

    /// The share of one feed.
    #[must_use]
    pub fn share(&self) -> Share {
        Share {
            budget: self.clone(),
            held_units: 0,
        }
    }

    /// Waits until a feed had to wait for memory.
    pub async fn pressed(&self) {
        self.pressure.notified().await;
    }

    /// Tells the pressure, and is due again a moment later.
    async fn press_again(&self) {
        self.pressure.notify_one();
        tokio::time::sleep(Duration::from_millis(PRESS_EVERY_MS)).await;
    }

    /// How much there is.
    #[must_use]
    pub fn limit_bytes(&self) -> u64 {
        u64::from(self.all_units) * UNIT_BYTES
    }

    /// The units for so many bytes. More than there is at all counts as all, so that one huge change passes
    /// alone.
    fn units_of(&self, bytes: u64) -> u32 {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        units.min(self.all_units)
    }

    /// Takes memory that no feed wants, when there is so much. Unlike [`Budget::take`] it doesn't stand in
    /// line, so no reader waits behind it.
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

    /// Takes the units for so many bytes, waiting for them if need be.
    pub async fn take(&self, bytes: u64) -> Taken {
        let units = self.units_of(bytes);
        let mut waiting = pin!(self.units.acquire_many(units));
        // Pressure is told again: what was on its way when the feeds flushed fills batches later.
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

/// Units on their way from the reader to the feed's share. Given back if they never arrive.
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

/// What one feed holds of the budget.
#[derive(Debug)]
pub struct Share {
    budget: Budget,
    held_units: u64,
}

impl Share {
    /// Adds what a reader took.
    pub fn add(&mut self, mut taken: Taken) {
        self.held_units += u64::from(std::mem::take(&mut taken.units));
    }

    /// Gives back what is more than the feed holds in memory now.
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
    async fn a_full_budget_presses_and_waits_until_a_share_shrinks() {
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
        assert_eq!(budget.units.available_permits(), 10, "all comes back");
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
    async fn who_takes_what_is_spare_presses_and_lets_others_pass() {
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
    async fn a_change_larger_than_the_budget_passes_alone() {
        let budget = Budget::new(UNIT_BYTES);
        let taken = budget.take(1 << 40).await;
        assert_eq!(budget.units.available_permits(), 0);
        drop(taken);
        assert_eq!(budget.units.available_permits(), 1);
    }
}
