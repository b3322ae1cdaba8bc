//! Collections that wait for their turn with a task that works on one after the other.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use silt_core::backoff::Backoff;
use silt_core::failure::Disposition;
use silt_core::limits::RETRY_DELAY_MAX_MS;
use silt_core::namespace::Namespace;

/// How often a halted collection is retried.
const HALT_RETRY: Duration = Duration::from_millis(RETRY_DELAY_MAX_MS);

/// Something to be done for a collection.
pub(crate) trait Task {
    /// The collection.
    fn origin(&self) -> &Namespace;
    /// First delay before a failure is retried.
    fn retry_delay_ms(&self) -> u64;
}

/// When a failed task is retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retry {
    pub delay_ms: u64,
    /// Failures in a row.
    pub failures: u32,
}

/// The tasks that wait, each collection's once.
#[derive(Debug)]
pub(crate) struct Agenda<T> {
    arriving: mpsc::UnboundedReceiver<T>,
    queue: VecDeque<T>,
    /// Tasks that failed, and when each is retried.
    later: Vec<(Instant, T)>,
    /// How often each collection has failed in a row.
    backoffs: HashMap<Namespace, Backoff>,
}

impl<T: Task> Agenda<T> {
    pub(crate) fn new(arriving: mpsc::UnboundedReceiver<T>) -> Self {
        Self {
            arriving,
            queue: VecDeque::new(),
            later: Vec::new(),
            backoffs: HashMap::new(),
        }
    }

    /// The next task that is due; `None` once all senders are gone and nothing is left. `admitted` sees each that
    /// arrives.
    pub(crate) async fn next(&mut self, mut admitted: impl FnMut(&T)) -> Option<T> {
        let mut is_open = true;
        loop {
            while let Ok(task) = self.arriving.try_recv() {
                admitted(&task);
                self.admit(task);
            }
            let now = Instant::now();
            let due = self.later.extract_if(.., |(at, _)| *at <= now);
            self.queue.extend(due.map(|(_, task)| task));
            if let Some(task) = self.queue.pop_front() {
                return Some(task);
            }
            let wake_at = self.later.iter().map(|(at, _)| *at).min();
            tokio::select! {
                task = self.arriving.recv(), if is_open => match task {
                    Some(task) => {
                        admitted(&task);
                        self.admit(task);
                    }
                    None => is_open = false,
                },
                () = tokio::time::sleep_until(wake_at.unwrap_or(now)), if wake_at.is_some() => {}
                else => return None,
            }
        }
    }

    /// Puts a task at the end of the queue, in place of an older one of its collection.
    fn admit(&mut self, task: T) {
        let is_other = |other: &T| other.origin() != task.origin();
        self.queue.retain(is_other);
        self.later.retain(|(_, failed)| is_other(failed));
        self.queue.push_back(task);
    }

    /// Notes that a collection has made progress.
    pub(crate) fn succeeded(&mut self, origin: &Namespace) {
        self.backoffs.remove(origin);
    }

    /// Retries a task after a delay that grows, and after the others.
    pub(crate) fn retry(&mut self, task: T, disposition: Disposition) -> Retry {
        let first_delay_ms = task.retry_delay_ms();
        let backoff = self.backoffs.entry(task.origin().clone());
        let backoff = backoff.or_insert_with(|| Backoff::new(first_delay_ms, fastrand::u64(..)));
        let delay_ms = backoff.failed(disposition);
        let failures = backoff.failures();
        self.continue_in(task, Duration::from_millis(delay_ms));
        Retry { delay_ms, failures }
    }

    /// Sets a task aside that needs manual action, so that it doesn't hold up the others.
    pub(crate) fn halt(&mut self, task: T) {
        self.continue_in(task, HALT_RETRY);
    }

    /// Does more of a task after a delay, and after the others.
    pub(crate) fn continue_in(&mut self, task: T, delay: Duration) {
        self.later.push((Instant::now() + delay, task));
    }
}
