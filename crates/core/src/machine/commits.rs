//! Commits: one at a time per collection, repeated until the lake is known to have them.

use std::sync::Arc;

use super::attempt::Operation;
use super::lane::Lane;
use super::reporter::Reporter;
use super::{Action, Config, Notice, Now, Tail, WriteOrder};
use crate::batch::{Batch, FlushReason};
use crate::failure::{Disposition, Failure};
use crate::file::hour_file::HourFileName;
use crate::file::layout;
use crate::limits::HOUR_END_GRACE_MS;

/// The commit in progress, if there is one.
#[derive(Debug)]
enum CommitState {
    Idle,
    /// At the lake.
    Running(WriteOrder),
    /// It failed, and its outcome may be unknown: the tail is to be inspected.
    Uncertain(WriteOrder),
}

/// The commit in progress, and the inspections after it has failed.
#[derive(Debug)]
pub(super) struct Committing {
    state: CommitState,
    pub operation: Operation,
}

impl Committing {
    pub fn new(operation: Operation) -> Self {
        Self {
            state: CommitState::Idle,
            operation,
        }
    }

    pub fn is_idle(&self) -> bool {
        matches!(self.state, CommitState::Idle)
    }

    /// Whether the lake is being written or inspected.
    pub fn is_running(&self) -> bool {
        matches!(self.state, CommitState::Running(_)) || self.operation.is_running()
    }

    pub fn batch(&self) -> Option<&Batch> {
        match &self.state {
            CommitState::Idle => None,
            CommitState::Running(order) | CommitState::Uncertain(order) => Some(&order.batch),
        }
    }

    fn take(&mut self) -> CommitState {
        std::mem::replace(&mut self.state, CommitState::Idle)
    }
}

/// What became of a commit.
#[derive(Debug)]
pub(super) enum CommitEnd {
    /// The lake has the batch.
    Done(Arc<Batch>),
    /// It isn't over.
    Open,
    /// The feed's view of the lake is stale.
    Stale(Failure),
}

impl Lane {
    pub(super) fn advance_commit(
        &mut self,
        config: &Config,
        now: Now,
        reporter: &mut Reporter<'_>,
    ) {
        match &self.commit.state {
            CommitState::Running(_) => {}
            CommitState::Uncertain(_) => {
                if self.commit.operation.may_start(now) {
                    self.commit.operation.start();
                    reporter.act(Action::Inspect(self.id));
                }
            }
            CommitState::Idle => self.start_commit(config, now, reporter),
        }
    }

    fn start_commit(&mut self, config: &Config, now: Now, reporter: &mut Reporter<'_>) {
        self.seal_if_due(config, now);
        let Some(reason) = self.queue.front().and_then(|batch| batch.sealed) else {
            return;
        };
        let Some(batch) = self.queue.pop_front() else {
            return;
        };
        let (name, base) = self.place(&batch, config);
        let order = WriteOrder {
            base,
            name,
            batch: Arc::new(batch),
            reason,
        };
        self.run_commit(order, reporter);
    }

    fn run_commit(&mut self, order: WriteOrder, reporter: &mut Reporter<'_>) {
        self.commit.state = CommitState::Running(order.clone());
        reporter.act(Action::Commit(self.id, order));
    }

    /// Seals the open batch if it is large enough or its hour is over. It may have grown larger during the
    /// previous commit: a slow lake gets fewer and larger commits.
    fn seal_if_due(&mut self, config: &Config, now: Now) {
        let batch_size_changes = config.limits.batch_size_changes;
        let hour_is_over = self.hour_end_in_ms(now) == Some(0);
        if let Some(open) = self.queue.back_mut() {
            if open.changes >= batch_size_changes {
                open.sealed.get_or_insert(FlushReason::Count);
            } else if hour_is_over {
                open.sealed.get_or_insert(FlushReason::Hour);
            }
        }
    }

    /// How long until the open batch's hour is over.
    pub(super) fn hour_end_in_ms(&self, now: Now) -> Option<u64> {
        let open = self.queue.back().filter(|batch| batch.sealed.is_none())?;
        let hour_ms = u64::try_from(open.hour.end_unix_ms() - now.unix_ms).unwrap_or(0);
        let grace_ms = (open.begun_at_ms + HOUR_END_GRACE_MS).saturating_sub(now.monotonic_ms);
        Some(hour_ms.max(grace_ms))
    }

    /// The file that a batch goes to, and its state.
    ///
    /// Whether a file is full follows from the file and the limits, never from the batch. Otherwise two writers
    /// with the same changes in different batches (or one whose commit lands late) could write them to two
    /// files, and only commits to the same file fence each other off.
    fn place(&self, batch: &Batch, config: &Config) -> (HourFileName, Option<Tail>) {
        let (limits, format) = (&config.limits, config.format);
        let first = HourFileName {
            hour: batch.hour,
            part: 1,
            format,
        };
        let Some(tail) = self.tail.as_ref() else {
            return (first, None);
        };
        let file = &tail.file;
        if file.name.hour != batch.hour {
            return (first, None);
        }
        let chunk_limit_bytes =
            layout::chunk_limit_bytes(limits.batch_seal_bytes(), format.compression);
        let has_room = file.len_bytes + chunk_limit_bytes <= limits.file_limit_bytes
            && file.commits < limits.file_limit_commits;
        if has_room && file.name.format == format {
            return (file.name, Some(tail.clone()));
        }
        let part = file.name.part + 1;
        (HourFileName { part, ..first }, None)
    }

    pub(super) fn committed(
        &mut self,
        result: Result<Tail, Failure>,
        config: &Config,
        now: Now,
        reporter: &mut Reporter<'_>,
    ) -> CommitEnd {
        let CommitState::Running(order) = self.commit.take() else {
            return CommitEnd::Open;
        };
        match result {
            Ok(tail) => self.commit_done(&order, tail, reporter),
            Err(failure) => self.commit_failed(order, &failure, config, now, reporter),
        }
    }

    fn commit_done(
        &mut self,
        order: &WriteOrder,
        tail: Tail,
        reporter: &mut Reporter<'_>,
    ) -> CommitEnd {
        self.commit.operation.succeeded(reporter);
        self.tail = Some(tail);
        self.archived.note(&order.batch);
        self.last_change = Some(order.batch.last.clone());
        self.last_number = order.batch.numbers.1;
        CommitEnd::Done(Arc::clone(&order.batch))
    }

    /// A failure loses nothing: the batch is kept until the lake is known to have it.
    fn commit_failed(
        &mut self,
        order: WriteOrder,
        failure: &Failure,
        config: &Config,
        now: Now,
        reporter: &mut Reporter<'_>,
    ) -> CommitEnd {
        self.commit.operation.failed(failure, now, reporter);
        self.commit.state = CommitState::Uncertain(order);
        if self.commit.operation.failures() == config.limits.retry_attempts
            && failure.disposition != Disposition::Halt
        {
            let (message, changes) = (failure.message.clone(), self.buffered_changes());
            reporter.notify(Notice::FlushFailing { message, changes });
        }
        CommitEnd::Open
    }

    /// The tail was read again after a commit had failed, to learn its outcome.
    pub(super) fn inspected(
        &mut self,
        result: Result<Option<Tail>, Failure>,
        config: &Config,
        now: Now,
        reporter: &mut Reporter<'_>,
    ) -> CommitEnd {
        let CommitState::Uncertain(mut order) = self.commit.take() else {
            return CommitEnd::Open;
        };
        let tail = match result {
            Ok(tail) => tail,
            Err(failure) => return self.commit_failed(order, &failure, config, now, reporter),
        };
        self.commit.operation.finish();
        match tail {
            Some(tail) if is_result_of(&tail, &order) => {
                reporter.notify(Notice::CommitConfirmed(tail.file.name));
                self.commit_done(&order, tail, reporter)
            }
            tail if is_same(tail.as_ref(), self.tail.as_ref()) => {
                // Its version may have changed nevertheless.
                order.base = order.base.and(tail.clone());
                self.tail = tail;
                self.run_commit(order, reporter);
                CommitEnd::Open
            }
            tail => {
                // Kept until the reload, so that a drain counts it as given up.
                self.commit.state = CommitState::Uncertain(order);
                CommitEnd::Stale(stale(tail.as_ref()))
            }
        }
    }
}

/// Whether the tail is what a commit makes.
fn is_result_of(tail: &Tail, order: &WriteOrder) -> bool {
    tail.file.name == order.name && tail.file.last == order.batch.last
}

/// Whether nobody has written since the tail was known.
fn is_same(tail: Option<&Tail>, known: Option<&Tail>) -> bool {
    match (tail, known) {
        (Some(tail), Some(known)) => {
            tail.file.name == known.file.name
                && tail.file.last == known.file.last
                && tail.file.len_bytes == known.file.len_bytes
        }
        (None, None) => true,
        _ => false,
    }
}

fn stale(tail: Option<&Tail>) -> Failure {
    let message = match tail {
        Some(tail) => format!("another writer has appended to {}", tail.file.name),
        None => "the collection's files were removed from the lake".to_owned(),
    };
    Failure {
        disposition: Disposition::Reload,
        cause: "lake_stale",
        message,
    }
}
