//! Commits: one at a time, tried until it is known that the lake has them.

use std::sync::Arc;

use super::lane::Lane;
use super::messages::Reporter;
use super::{Action, Attempt, Config, Notice, Now, Tail, WriteOrder};
use crate::batch::{Batch, FlushReason};
use crate::failure::{Disposition, Failure};
use crate::file::hour_file::{Hour, HourFile, HourFileName};
use crate::file::layout;
use crate::limits::HOUR_END_GRACE_MS;

/// The commit that is under way, if one is.
#[derive(Debug)]
pub(super) enum CommitState {
    Idle,
    /// At the lake.
    Running(WriteOrder),
    /// It failed, and its outcome may be unknown: the lake is to be asked when `inspect` may start.
    Uncertain {
        order: WriteOrder,
        inspect: Attempt,
    },
}

impl CommitState {
    pub(super) fn is_idle(&self) -> bool {
        matches!(self, Self::Idle)
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(
            self,
            Self::Running(_)
                | Self::Uncertain {
                    inspect: Attempt::Running,
                    ..
                }
        )
    }

    pub(super) fn batch(&self) -> Option<&Batch> {
        match self {
            Self::Idle => None,
            Self::Running(order) | Self::Uncertain { order, .. } => Some(&order.batch),
        }
    }

    pub(super) fn hour(&self) -> Option<Hour> {
        self.batch().map(|batch| batch.hour)
    }

    pub(super) fn len_bytes(&self) -> u64 {
        self.batch().map_or(0, Batch::len_bytes)
    }

    pub(super) fn changes(&self) -> u64 {
        self.batch().map_or(0, |batch| u64::from(batch.changes))
    }

    pub(super) fn wake_at_ms(&self) -> Option<u64> {
        match self {
            Self::Uncertain { inspect, .. } => inspect.wake_at_ms(),
            Self::Idle | Self::Running(_) => None,
        }
    }

    pub(super) fn hurry(&mut self) {
        if let Self::Uncertain { inspect, .. } = self {
            inspect.hurry();
        }
    }
}

/// What became of a commit.
#[derive(Debug)]
pub(super) enum CommitEnd {
    /// The lake has the batch.
    Done(Arc<Batch>),
    /// It goes on.
    Open,
    /// The view of the lake is stale.
    Stale(Failure),
}

impl Lane {
    pub(super) fn advance_commit(
        &mut self,
        config: &Config,
        now: Now,
        reporter: &mut Reporter<'_>,
    ) {
        match &mut self.commit {
            CommitState::Running(_) => {}
            CommitState::Uncertain { inspect, .. } => {
                if inspect.may_start(now) {
                    *inspect = Attempt::Running;
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
        self.commit = CommitState::Running(order.clone());
        reporter.act(Action::Commit(self.id, order));
    }

    /// Seals the open batch if it has grown to its size or its hour is over. It may have grown past
    /// its size while another commit was under way: fewer, larger commits when the lake is slow.
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

    /// The file that a batch goes to, and what that is now.
    ///
    /// Whether a file is full follows from the file and the limits, never from the batch at hand.
    /// Else two writers with the same changes in different batches (or one whose commit lands late)
    /// could put them into two files, and only commits to the same file fence each other off.
    fn place(&self, batch: &Batch, config: &Config) -> (HourFileName, Option<HourFile>) {
        let limits = &config.limits;
        let format = config.format;
        match &self.file {
            Some(file) if file.name.hour == batch.hour => {
                let chunk_limit_bytes =
                    layout::chunk_limit_bytes(limits.batch_seal_bytes(), format.compression);
                let has_room = file.len_bytes + chunk_limit_bytes <= limits.file_limit_bytes
                    && file.commits < limits.file_limit_commits;
                if has_room && file.name.format == format {
                    (file.name, Some(file.clone()))
                } else {
                    let part = file.name.part + 1;
                    (
                        HourFileName {
                            hour: batch.hour,
                            part,
                            format,
                        },
                        None,
                    )
                }
            }
            _ => (
                HourFileName {
                    hour: batch.hour,
                    part: 1,
                    format,
                },
                None,
            ),
        }
    }

    pub(super) fn committed(
        &mut self,
        result: Result<HourFile, Failure>,
        config: &Config,
        now: Now,
        reporter: &mut Reporter<'_>,
    ) -> CommitEnd {
        let CommitState::Running(order) = std::mem::replace(&mut self.commit, CommitState::Idle)
        else {
            return CommitEnd::Open;
        };
        match result {
            Ok(file) => self.commit_done(&order, file, reporter),
            Err(failure) => self.commit_failed(order, &failure, config, now, reporter),
        }
    }

    fn commit_done(
        &mut self,
        order: &WriteOrder,
        file: HourFile,
        reporter: &mut Reporter<'_>,
    ) -> CommitEnd {
        reporter.recovered(&mut self.commit_backoff, &mut self.commit_trouble);
        self.file = Some(file);
        self.archived.note(&order.batch);
        self.last_change = Some(order.batch.last.clone());
        self.last_number = order.batch.numbers.1;
        CommitEnd::Done(Arc::clone(&order.batch))
    }

    /// Nothing is lost by a failure: the batch is kept until the lake is known to have it.
    fn commit_failed(
        &mut self,
        order: WriteOrder,
        failure: &Failure,
        config: &Config,
        now: Now,
        reporter: &mut Reporter<'_>,
    ) -> CommitEnd {
        let trouble = &mut self.commit_trouble;
        let inspect = reporter.failed(failure, &mut self.commit_backoff, trouble, now);
        self.commit = CommitState::Uncertain { order, inspect };
        if self.commit_backoff.failures() == config.limits.retry_attempts
            && failure.disposition != Disposition::Halt
        {
            let (message, changes) = (failure.message.clone(), self.buffered_changes());
            reporter.notify(Notice::FlushFailing { message, changes });
        }
        CommitEnd::Open
    }

    /// An unknown outcome is looked up, not guessed.
    pub(super) fn inspected(
        &mut self,
        result: Result<Tail, Failure>,
        config: &Config,
        now: Now,
        reporter: &mut Reporter<'_>,
    ) -> CommitEnd {
        let CommitState::Uncertain { order, .. } =
            std::mem::replace(&mut self.commit, CommitState::Idle)
        else {
            return CommitEnd::Open;
        };
        let tail = match result {
            Ok(tail) => tail,
            Err(failure) => return self.commit_failed(order, &failure, config, now, reporter),
        };
        let is_ours = tail
            .as_ref()
            .is_some_and(|file| file.name == order.name && file.last == order.batch.last);
        if is_ours && let Some(file) = tail {
            reporter.notify(Notice::CommitConfirmed(file.name));
            return self.commit_done(&order, file, reporter);
        }
        let is_untouched = match (&tail, &self.file) {
            (Some(there), Some(known)) => {
                there.name == known.name
                    && there.last == known.last
                    && there.len_bytes == known.len_bytes
            }
            (None, None) => true,
            _ => false,
        };
        if is_untouched {
            self.commit = CommitState::Running(order.clone());
            reporter.act(Action::Commit(self.id, order));
            return CommitEnd::Open;
        }
        // Held until the reload, so that a drain counts it among what it lets go.
        self.commit = CommitState::Uncertain {
            order,
            inspect: Attempt::Ready,
        };
        CommitEnd::Stale(stale(tail))
    }
}

fn stale(tail: Tail) -> Failure {
    let message = match tail {
        Some(file) => format!("another writer has moved {} on", file.name),
        None => "the collection's files are gone from the lake".to_owned(),
    };
    Failure {
        disposition: Disposition::Reload,
        cause: "lake_stale",
        message,
    }
}
