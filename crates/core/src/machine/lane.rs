//! The path of one collection's changes from the stream into the lake: the overlap, the batches, the tail.

use std::collections::VecDeque;

use super::attempt::Operation;
use super::commits::Committing;
use super::reporter::Reporter;
use super::resume_point::{self, ResumePoint};
use super::{Action, Archived, Config, LaneId, Notice, Now, Tail, Trouble};
use crate::batch::{Batch, Change, FlushReason};
use crate::failure::Failure;
use crate::file::hour_file::Hour;
use crate::limits::Limits;
use crate::namespace::Namespace;
use crate::position::LastChange;

/// Changes that the lake already holds: they are read again, and dropped up to the tail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Overlap {
    /// The tail's last change.
    pub until: LastChange,
    /// The pipeline has changed since, and may leave that change out.
    pub may_be_filtered: bool,
    /// It is an `invalidate`, the only change of its time that another stream doesn't have: every other change
    /// of that time is before it.
    pub is_invalidate: bool,
    /// Changes dropped so far.
    pub skipped: u64,
    /// The number of the first dropped change that has the last change's time, and that may be after it: if
    /// the last change doesn't come, this can't be decided.
    pub uncertain_since: Option<u64>,
}

/// Where a change went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placement {
    /// Into a new batch.
    OpensBatch,
    /// Into the open batch.
    JoinsBatch,
    /// The lake holds it.
    InOverlap,
    /// The lake probably holds it. The position that is saved must stay before it.
    MaybeInOverlap,
}

/// Why a change was refused. The stream is to be closed.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The tail's last change isn't in the stream.
    TailMissing(Failure),
    /// The change is from an earlier hour than the tail.
    TimeWentBack(Failure),
    /// The change is of an hour that is closed.
    HourClosed(Failure),
}

/// The state of one collection.
#[derive(Debug)]
pub(super) struct Lane {
    pub id: LaneId,
    pub namespace: Namespace,
    is_tail_known: bool,
    tail_load: Operation,
    pub overlap: Option<Overlap>,
    pub queue: VecDeque<Batch>,
    pub commit: Committing,
    pub tail: Option<Tail>,
    /// The last change that the lake is known to hold, and its number if this feed has read it.
    pub last_change: Option<LastChange>,
    pub last_number: u64,
    pub archived: Archived,
}

impl Lane {
    pub fn new(id: LaneId, namespace: Namespace, config: &Config) -> Self {
        let salt = id.0 as u64 * 8;
        let operation = |own: u64| {
            let seed = config.seed.wrapping_add(salt).wrapping_add(own);
            Operation::new(&config.limits, seed)
        };
        Self {
            id,
            namespace,
            is_tail_known: false,
            tail_load: operation(6),
            overlap: None,
            queue: VecDeque::new(),
            commit: Committing::new(operation(3)),
            tail: None,
            last_change: None,
            last_number: 0,
            archived: Archived::default(),
        }
    }

    /// Whether it can take changes.
    pub fn is_tail_known(&self) -> bool {
        self.is_tail_known
    }

    pub fn is_loading_tail(&self) -> bool {
        self.tail_load.is_running()
    }

    /// Whether there may be something to do.
    pub fn is_busy(&self) -> bool {
        !self.is_tail_known || !self.queue.is_empty() || !self.commit.is_idle()
    }

    /// Whether all that it has read is in the lake.
    pub fn is_archived(&self) -> bool {
        self.queue.is_empty() && self.commit.is_idle()
    }

    pub fn troubles(&self) -> impl Iterator<Item = &Trouble> {
        let operations = [&self.tail_load, &self.commit.operation];
        operations.into_iter().filter_map(Operation::trouble)
    }

    /// Loads the tail, when that may be started.
    pub fn advance_tail(&mut self, now: Now, reporter: &mut Reporter<'_>) {
        if !self.is_tail_known && self.tail_load.may_start(now) {
            self.tail_load.start();
            reporter.act(Action::LoadTail(self.id));
        }
    }

    pub fn tail_loaded(
        &mut self,
        result: Result<Option<Tail>, Failure>,
        resume_point: &ResumePoint,
        now: Now,
        reporter: &mut Reporter<'_>,
    ) {
        let joined = result.and_then(|tail| self.join(tail, resume_point, reporter));
        match joined {
            Ok(()) => self.tail_load.succeeded(reporter),
            Err(failure) => self.tail_load.failed(&failure, now, reporter),
        }
    }

    /// Takes the tail, and determines which changes of the stream the lake already holds.
    pub fn join(
        &mut self,
        tail: Option<Tail>,
        resume_point: &ResumePoint,
        reporter: &mut Reporter<'_>,
    ) -> Result<(), Failure> {
        let watermark = resume_point.watermark(&self.namespace);
        let file = tail.as_ref().map(|tail| &tail.file);
        self.overlap = resume_point.overlap(watermark, file)?;
        self.last_change = file
            .map(|file| &file.last)
            .or(watermark.map(|watermark| &watermark.last_change))
            .cloned();
        self.last_number = 0;
        self.tail = tail;
        self.is_tail_known = true;
        if self.overlap.is_some() {
            reporter.notify(Notice::OverlapFound);
        }
        Ok(())
    }

    /// Takes a change: drops it if it is in the overlap, or else adds it to a batch.
    pub fn take(
        &mut self,
        change: &Change<'_>,
        number: u64,
        limits: &Limits,
        now: Now,
        reporter: &mut Reporter<'_>,
    ) -> Result<Placement, Refusal> {
        if let Some(overlap) = self.overlap.take() {
            let placement = self.match_overlap(overlap, change, number, reporter);
            if let Some(placement) = placement.map_err(Refusal::TailMissing)? {
                return Ok(placement);
            }
        }
        self.refuse_earlier_hour(change)
            .map_err(Refusal::TimeWentBack)?;
        self.refuse_closed_hour(change)
            .map_err(Refusal::HourClosed)?;
        Ok(self.buffer(change, number, limits, now))
    }

    /// Drops a change that is in the overlap. Returns `None` if it is after it.
    fn match_overlap(
        &mut self,
        mut overlap: Overlap,
        change: &Change<'_>,
        number: u64,
        reporter: &mut Reporter<'_>,
    ) -> Result<Option<Placement>, Failure> {
        let is_last = overlap.until.token.as_extended_json() == change.token;
        let is_after = !is_last && change.cluster_time > overlap.until.cluster_time;
        let may_be_missing = overlap.is_invalidate || overlap.may_be_filtered;
        let must_come = !may_be_missing || overlap.uncertain_since.is_some();
        if is_after && must_come {
            let file = self.tail.as_ref().map(|tail| tail.file.name.to_string());
            let file = file.unwrap_or_default();
            return Err(resume_point::lake_older(
                &overlap.until,
                change.cluster_time,
                &file,
            ));
        }
        overlap.skipped += u64::from(!is_after);
        if is_last || is_after {
            let skipped = overlap.skipped;
            reporter.notify(Notice::OverlapPassed { skipped });
            self.last_change = Some(overlap.until);
            self.last_number = number;
            return Ok(is_last.then_some(Placement::InOverlap));
        }
        let has_its_time = change.cluster_time == overlap.until.cluster_time;
        let may_be_after = overlap.may_be_filtered && !overlap.is_invalidate;
        let is_uncertain = may_be_after && has_its_time && overlap.uncertain_since.is_none();
        if is_uncertain {
            overlap.uncertain_since = Some(number);
        }
        self.overlap = Some(overlap);
        Ok(Some(if is_uncertain {
            Placement::MaybeInOverlap
        } else {
            Placement::InOverlap
        }))
    }

    fn refuse_earlier_hour(&self, change: &Change<'_>) -> Result<(), Failure> {
        match self.newest_hour() {
            Some(newest) if Hour::of(change.cluster_time) < newest => {
                Err(resume_point::time_went_back(change.cluster_time, newest))
            }
            _ => Ok(()),
        }
    }

    /// An hour is closed after a position beyond its end was saved, so a change of it comes only if the position
    /// has moved back since.
    fn refuse_closed_hour(&self, change: &Change<'_>) -> Result<(), Failure> {
        let hour = Hour::of(change.cluster_time);
        let closed = self.tail.as_ref().filter(|tail| tail.is_closed);
        match closed.map(|tail| tail.file.name.hour) {
            Some(closed) if closed == hour => {
                Err(resume_point::hour_closed(change.cluster_time, closed))
            }
            _ => Ok(()),
        }
    }

    /// The newest change that the lake has or is to have.
    pub fn newest_change(&self) -> Option<&LastChange> {
        let waiting = self.queue.back().or(self.commit.batch());
        waiting
            .map(|batch| &batch.last)
            .or(self.last_change.as_ref())
    }

    fn newest_hour(&self) -> Option<Hour> {
        let waiting = self.queue.back().or(self.commit.batch());
        let archived = self.tail.as_ref().map(|tail| tail.file.name.hour);
        waiting.map(|batch| batch.hour).or(archived)
    }

    fn buffer(&mut self, change: &Change<'_>, number: u64, limits: &Limits, now: Now) -> Placement {
        let hour = Hour::of(change.cluster_time);
        let seal_bytes = limits.batch_seal_bytes();
        let room_bytes = seal_bytes.saturating_sub(change.line.len() as u64);
        if let Some(open) = self.queue.back_mut() {
            if open.hour != hour {
                open.sealed.get_or_insert(FlushReason::Hour);
            } else if open.len_bytes() > room_bytes {
                open.sealed.get_or_insert(FlushReason::Bytes);
            }
        }
        let (placement, open) = match self.queue.back_mut() {
            Some(open) if open.sealed.is_none() => {
                open.add(change);
                open.numbers.1 = number;
                (Placement::JoinsBatch, open)
            }
            _ => {
                let mut batch = Batch::begin(change, now.monotonic_ms);
                batch.numbers = (number, number);
                (Placement::OpensBatch, self.queue.push_back_mut(batch))
            }
        };
        if open.len_bytes() >= seal_bytes {
            open.sealed = Some(FlushReason::Bytes);
        }
        placement
    }

    /// Seals the open batch, if there is one.
    pub fn seal_open(&mut self, reason: FlushReason) {
        if let Some(open) = self.queue.back_mut() {
            open.sealed.get_or_insert(reason);
        }
    }

    /// Retries at once whatever waits for its next attempt.
    pub fn hurry(&mut self) {
        self.commit.operation.hurry();
        self.tail_load.hurry();
    }

    /// When there may be something to do, in monotonic milliseconds. A tail is only loaded for changes that need it.
    pub fn wake_at_ms(&self, now: Now, loads_tail: bool) -> Option<u64> {
        let tail = self.tail_load.wake_at_ms().filter(|_| loads_tail);
        let commit = if self.commit.is_idle() {
            self.hour_end_in_ms(now)
                .map(|in_ms| now.monotonic_ms + in_ms)
        } else {
            self.commit.operation.wake_at_ms()
        };
        tail.into_iter().chain(commit).min()
    }

    /// Encoded bytes in memory.
    pub fn buffered_bytes(&self) -> u64 {
        let commit = self.commit.batch().map_or(0, Batch::len_bytes);
        self.queue.iter().map(Batch::len_bytes).sum::<u64>() + commit
    }

    /// Changes in memory.
    pub fn buffered_changes(&self) -> u64 {
        let batches = self.queue.iter().chain(self.commit.batch());
        batches.map(|batch| u64::from(batch.changes)).sum()
    }
}
