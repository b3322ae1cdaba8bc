//! The start: checkpoint and tail are read and reconciled, the starting position is anchored.

use super::super::failure::{Disposition, Failure};
use super::super::hour_file::HourFile;
use super::super::position::{Checkpoint, ClusterTime, LastChange, Position, Stored};
use super::{Action, Actions, Feed, Notice, Now, Stage, StartAt, Tail, Try};

impl Feed {
    pub(super) fn advance_start(&mut self, now: Now, out: &mut Actions) {
        // A save may still be under way where the lake turned out to be behind; what is loaded
        // beside it may be older than it.
        let is_saving = self.save == Try::Running;
        if self.draining || is_saving || !self.load.may_start(now) {
            return;
        }
        self.load = Try::Running;
        out.push(match self.stage {
            Stage::Seeking => Action::AskClusterTime,
            _ => Action::Load,
        });
    }

    pub(super) fn loaded(
        &mut self,
        result: Result<(Option<Stored>, Tail), Failure>,
        now: Now,
        out: &mut Actions,
    ) {
        let outcome = result.and_then(|(stored, tail)| self.reconcile(stored, tail, out));
        if let Err(failure) = outcome {
            self.start_failed(&failure, now, out);
        }
    }

    pub(super) fn start_failed(&mut self, failure: &Failure, now: Now, out: &mut Actions) {
        self.load = Self::fail(
            failure,
            &mut self.load_backoff,
            &mut self.troubles.start,
            now,
            out,
        );
    }

    pub(super) fn start_worked(&mut self, out: &mut Actions) {
        self.load = Try::Ready;
        Self::mend(&mut self.load_backoff, &mut self.troubles.start, out);
    }

    /// The lake is the truth, the checkpoint follows.
    fn reconcile(
        &mut self,
        stored: Option<Stored>,
        tail: Tail,
        out: &mut Actions,
    ) -> Result<(), Failure> {
        if let Some(Stored { checkpoint, .. }) = &stored {
            refuse_lake_behind(checkpoint, tail.as_ref())?;
        }
        self.start_worked(out);
        self.file = tail;
        let tail = self.file.as_ref().map(|file| file.last.clone());
        match (stored, tail) {
            (Some(stored), tail) => self.resume(stored, tail, out),
            (None, Some(tail)) => {
                let position = Position::After(tail.token.clone());
                self.anchor(position, Some(tail), out);
            }
            (None, None) => match self.config.start_at {
                StartAt::Time(time) => self.anchor(Position::At(time), None, out),
                StartAt::Now => self.stage = Stage::Seeking,
            },
        }
        Ok(())
    }

    pub(super) fn cluster_time(
        &mut self,
        result: Result<ClusterTime, Failure>,
        now: Now,
        out: &mut Actions,
    ) {
        match result {
            Ok(ClusterTime { seconds, increment }) => {
                // `startAtOperationTime` is inclusive, and what happened at this time is past.
                let next = ClusterTime {
                    seconds,
                    increment: increment.saturating_add(1),
                };
                if self.stage == Stage::Bridging {
                    return self.gap_ends(next, now, out);
                }
                self.start_worked(out);
                self.anchor(Position::At(next), None, out);
            }
            Err(failure) => self.start_failed(&failure, now, out),
        }
    }

    /// Takes a starting position that is to be saved before anything is read.
    fn anchor(&mut self, position: Position, last_change: Option<LastChange>, out: &mut Actions) {
        let from_tail = last_change.is_some();
        out.push(Action::Tell(Notice::StartsAt {
            position: position.clone(),
            from_tail,
        }));
        self.revision = 0;
        self.saved = None;
        self.take_position(position, last_change);
        self.stage = Stage::Anchoring;
    }

    fn resume(&mut self, stored: Stored, tail: Option<LastChange>, out: &mut Actions) {
        let Stored {
            checkpoint,
            revision,
        } = stored;
        if checkpoint.stream_hash != self.config.stream_hash {
            out.push(Action::Tell(Notice::StreamChanged {
                stored: checkpoint.stream_hash.clone(),
                current: self.config.stream_hash.clone(),
            }));
        }
        self.revision = revision;
        self.take_position(checkpoint.position.clone(), checkpoint.last_change.clone());
        self.safe.restarted_at = checkpoint.restarted_at;
        if tail.is_some() && tail != checkpoint.last_change {
            self.lake_ahead(tail, out);
        }
        self.saved = Some(checkpoint);
        self.stage = Stage::Running;
    }

    /// The lake has got changes that the checkpoint doesn't know of.
    fn lake_ahead(&mut self, tail: Option<LastChange>, out: &mut Actions) {
        let tail_time = tail.as_ref().map(|tail| tail.cluster_time);
        if tail_time < self.safe.restarted_at {
            // They lie before the position, in the gap that it stands behind.
            self.safe.last_change = tail;
        } else {
            out.push(Action::Tell(Notice::LakeAhead));
            self.skip_until = tail;
        }
    }

    pub(super) fn take_position(&mut self, position: Position, last_change: Option<LastChange>) {
        self.read_position = position.clone();
        self.unsure_save = None;
        self.skipped_changes = 0;
        let stream_hash = self.config.stream_hash.clone();
        self.safe = Checkpoint {
            position,
            last_change,
            stream_hash,
            restarted_at: None,
        };
    }
}

/// A lake whose tail is older than the checkpoint's last change was restored or lost files. No file
/// at all is no such case: lifecycle rules delete old ones.
///
/// # Errors
///
/// The halt of a feed.
pub fn refuse_lake_behind(checkpoint: &Checkpoint, tail: Option<&HourFile>) -> Result<(), Failure> {
    let (Some(last_change), Some(file)) = (&checkpoint.last_change, tail) else {
        return Ok(());
    };
    if file.last.token == last_change.token || file.last.cluster_time >= last_change.cluster_time {
        return Ok(());
    }
    Err(lake_behind(
        &file.last,
        last_change.cluster_time,
        &file.name.to_string(),
    ))
}

pub(super) fn lake_behind(tail: &LastChange, expected: ClusterTime, file: &str) -> Failure {
    Failure {
        disposition: Disposition::Halt,
        cause: "lake_behind",
        message: format!(
            "the lake is behind its checkpoint: its newest file {file} ends at {}, the checkpoint \
             knows of changes up to {expected}. Were files deleted or restored? Put the missing \
             files back, or delete this feed's checkpoint to archive again from the end of {file} \
             (the oplog must still hold that time)",
            tail.cluster_time
        ),
    }
}
