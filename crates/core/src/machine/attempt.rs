//! Operations at an edge that are repeated until they succeed.

use super::reporter::Reporter;
use super::{Now, Trouble};
use crate::backoff::Backoff;
use crate::failure::{Disposition, Failure};
use crate::limits::Limits;

/// The state of the current attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    /// May be started.
    Ready,
    /// In progress.
    Running,
    /// Failed. May be repeated at this monotonic time.
    Waiting { until_ms: u64 },
}

/// An operation at an edge: its current attempt, the delay between attempts, and the trouble it is in.
#[derive(Debug)]
pub(super) struct Operation {
    attempt: Attempt,
    backoff: Backoff,
    trouble: Option<Trouble>,
}

impl Operation {
    /// The seed makes the jitter of the delays repeatable.
    pub fn new(limits: &Limits, seed: u64) -> Self {
        Self {
            attempt: Attempt::Ready,
            backoff: Backoff::new(limits.retry_delay_ms, seed),
            trouble: None,
        }
    }

    pub fn may_start(&self, now: Now) -> bool {
        match self.attempt {
            Attempt::Ready => true,
            Attempt::Running => false,
            Attempt::Waiting { until_ms } => now.monotonic_ms >= until_ms,
        }
    }

    pub fn is_ready(&self) -> bool {
        self.attempt == Attempt::Ready
    }

    pub fn is_running(&self) -> bool {
        self.attempt == Attempt::Running
    }

    pub fn start(&mut self) {
        self.attempt = Attempt::Running;
    }

    /// The attempt is over, and whether the operation works isn't known yet.
    pub fn finish(&mut self) {
        self.attempt = Attempt::Ready;
    }

    pub fn wait_until(&mut self, until_ms: u64) {
        self.attempt = Attempt::Waiting { until_ms };
    }

    /// The operation works.
    pub fn succeeded(&mut self, reporter: &mut Reporter<'_>) {
        self.attempt = Attempt::Ready;
        self.backoff.succeeded();
        if let Some(past) = self.trouble.take() {
            reporter.recovered(past);
        }
    }

    /// Schedules the next attempt, and reports the failure unless it is a stale view.
    pub fn failed(&mut self, failure: &Failure, now: Now, reporter: &mut Reporter<'_>) {
        let delay_ms = self.backoff.failed(failure.disposition);
        self.wait_until(now.monotonic_ms + delay_ms);
        let is_halt = match failure.disposition {
            Disposition::Exit => return reporter.exit(failure.message.clone()),
            Disposition::Reload => return,
            Disposition::Retry { .. } => false,
            Disposition::Halt | Disposition::HistoryLost { .. } => true,
        };
        let trouble = Trouble {
            message: failure.message.clone(),
            failures: self.backoff.failures(),
            is_halt,
        };
        let is_known = |old: &Trouble| old.message == trouble.message;
        if !is_halt {
            reporter.retrying(&trouble, delay_ms);
        } else if !self.trouble.as_ref().is_some_and(is_known) {
            reporter.halted(&trouble);
        }
        self.trouble = Some(trouble);
    }

    /// Makes a waiting operation ready at once.
    pub fn hurry(&mut self) {
        if matches!(self.attempt, Attempt::Waiting { .. }) {
            self.attempt = Attempt::Ready;
        }
    }

    /// Discards the attempt and its trouble. The delay after the next failure stays what it would be.
    pub fn discard(&mut self) {
        self.attempt = Attempt::Ready;
        self.trouble = None;
    }

    /// Discards the attempt, its trouble and its failures so far.
    pub fn reset(&mut self) {
        self.discard();
        self.backoff.succeeded();
    }

    /// When the next attempt is due, in monotonic milliseconds.
    pub fn wake_at_ms(&self) -> Option<u64> {
        match self.attempt {
            Attempt::Waiting { until_ms } => Some(until_ms),
            Attempt::Ready | Attempt::Running => None,
        }
    }

    /// When something that is due at a time can be started; `None` while an attempt is in progress.
    pub fn earliest_start_ms(&self, due_at_ms: u64) -> Option<u64> {
        match self.attempt {
            Attempt::Running => None,
            Attempt::Ready => Some(due_at_ms),
            Attempt::Waiting { until_ms } => Some(due_at_ms.max(until_ms)),
        }
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.backoff.failures()
    }

    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }
}
