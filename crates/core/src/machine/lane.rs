//! One collection's way from the stream into the lake: what waits, what is committed, where the lake
//! ends.

use std::collections::VecDeque;

use super::commits::CommitState;
use super::messages::Reporter;
use super::resume_point::{self, ResumePoint};
use super::{Action, Archived, Attempt, Config, LaneId, Notice, Now, Tail, Trouble};
use crate::backoff::Backoff;
use crate::batch::{Batch, Change, FlushReason};
use crate::failure::Failure;
use crate::file::hour_file::{Hour, HourFile};
use crate::limits::Limits;
use crate::namespace::Namespace;
use crate::position::LastChange;

/// Changes that the lake holds already are passed over up to here, as they are read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Overlap {
    /// The lake's last change.
    pub until: LastChange,
    /// The pipeline has changed since, and may leave that change out.
    pub may_be_filtered: bool,
    /// It is an `invalidate`, and the only change of its time that another stream doesn't have: whatever else has
    /// that time lies before it.
    pub is_invalidate: bool,
    /// Changes passed over so far.
    pub skipped: u64,
    /// The number of the first of them that had the last change's time and may lie behind it: if the last
    /// change doesn't come, nobody can tell.
    pub uncertain_since: Option<u64>,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placement {
    /// It waits in a batch that began with it.
    OpensBatch,
    /// It waits in the batch of others.
    JoinsBatch,
    /// The lake holds it.
    InOverlap,
    /// The lake seems to hold it: the position must not pass it yet.
    MaybeInOverlap,
}

/// What is known of a collection's newest hour file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TailState {
    /// It is to be looked up before the collection's changes are taken.
    Unknown(Attempt),
    Known,
}

/// What kept a change from being taken. The stream is to be closed.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The lake's last change isn't in the stream.
    TailMissing(Failure),
    /// It came from an hour that is past already.
    TimeWentBack(Failure),
}

/// The state of one collection.
#[derive(Debug)]
pub(super) struct Lane {
    pub id: LaneId,
    pub namespace: Namespace,
    tail_state: TailState,
    tail_backoff: Backoff,
    pub tail_trouble: Option<Trouble>,
    pub overlap: Option<Overlap>,
    pub queue: VecDeque<Batch>,
    pub commit: CommitState,
    pub commit_backoff: Backoff,
    pub commit_trouble: Option<Trouble>,
    /// The newest hour file.
    pub file: Option<HourFile>,
    /// The last change that the lake is known to hold, and its number if this feed read it.
    pub last_change: Option<LastChange>,
    pub last_number: u64,
    pub archived: Archived,
}

impl Lane {
    pub fn new(id: LaneId, namespace: Namespace, config: &Config) -> Self {
        let salt = id.0 as u64 * 8;
        let backoff = |own: u64| {
            let seed = config.seed.wrapping_add(salt).wrapping_add(own);
            Backoff::new(config.limits.retry_delay_ms, seed)
        };
        Self {
            id,
            namespace,
            tail_state: TailState::Unknown(Attempt::Ready),
            tail_backoff: backoff(6),
            tail_trouble: None,
            overlap: None,
            queue: VecDeque::new(),
            commit: CommitState::Idle,
            commit_backoff: backoff(3),
            commit_trouble: None,
            file: None,
            last_change: None,
            last_number: 0,
            archived: Archived::default(),
        }
    }

    /// Whether it may take changes.
    pub fn is_known(&self) -> bool {
        self.tail_state == TailState::Known
    }

    pub fn is_loading_tail(&self) -> bool {
        self.tail_state == TailState::Unknown(Attempt::Running)
    }

    /// Whether there is something that it may have to do.
    pub fn is_busy(&self) -> bool {
        !self.is_known() || !self.queue.is_empty() || !self.commit.is_idle()
    }

    /// Whether all that it read is in the lake.
    pub fn is_archived(&self) -> bool {
        self.queue.is_empty() && self.commit.is_idle()
    }

    /// Looks up where the lake ends, when that may be done.
    pub fn advance_tail(&mut self, now: Now, reporter: &mut Reporter<'_>) {
        if let TailState::Unknown(state) = self.tail_state
            && state.may_start(now)
        {
            self.tail_state = TailState::Unknown(Attempt::Running);
            reporter.act(Action::LoadTail(self.id));
        }
    }

    pub fn tail_loaded(
        &mut self,
        result: Result<Tail, Failure>,
        resume_point: &ResumePoint,
        now: Now,
        reporter: &mut Reporter<'_>,
    ) {
        let joined = result.and_then(|tail| self.join(tail, resume_point, reporter));
        let trouble = &mut self.tail_trouble;
        match joined {
            Ok(()) => reporter.recovered(&mut self.tail_backoff, trouble),
            Err(failure) => {
                let state = reporter.failed(&failure, &mut self.tail_backoff, trouble, now);
                self.tail_state = TailState::Unknown(state);
            }
        }
    }

    /// Learns where the lake ends, and what of the stream it holds already.
    pub fn join(
        &mut self,
        tail: Tail,
        resume_point: &ResumePoint,
        reporter: &mut Reporter<'_>,
    ) -> Result<(), Failure> {
        let watermark = resume_point.mark(&self.namespace);
        let joined = resume_point::reconcile_lane(watermark, tail.as_ref(), resume_point)?;
        self.last_change = tail
            .as_ref()
            .map(|file| file.last.clone())
            .or_else(|| watermark.map(|watermark| watermark.last_change.clone()));
        self.last_number = 0;
        self.file = tail;
        self.overlap = joined;
        self.tail_state = TailState::Known;
        if self.overlap.is_some() {
            reporter.notify(Notice::OverlapFound);
        }
        Ok(())
    }

    /// Takes a change: passes over what the lake holds, and lets the rest wait for a commit.
    pub fn take(
        &mut self,
        change: &Change<'_>,
        number: u64,
        limits: &Limits,
        now: Now,
        reporter: &mut Reporter<'_>,
    ) -> Result<Placement, Refusal> {
        if let Some(overlap) = self.overlap.take() {
            let passed = self.match_overlap(overlap, change, number, reporter);
            if let Some(passed) = passed.map_err(Refusal::TailMissing)? {
                return Ok(passed);
            }
        }
        self.refuse_earlier_hour(change)
            .map_err(Refusal::TimeWentBack)?;
        Ok(self.buffer(change, number, limits, now))
    }

    /// Passes a change over, or answers with nothing if it lies behind what the lake holds.
    fn match_overlap(
        &mut self,
        mut overlap: Overlap,
        change: &Change<'_>,
        number: u64,
        reporter: &mut Reporter<'_>,
    ) -> Result<Option<Placement>, Failure> {
        let is_last = overlap.until.token.as_extended_json() == change.token;
        let is_behind = !is_last && change.cluster_time > overlap.until.cluster_time;
        let may_stay_away = overlap.is_invalidate || overlap.may_be_filtered;
        let must_come = !may_stay_away || overlap.uncertain_since.is_some();
        if is_behind && must_come {
            let file = self.file.as_ref().map(|file| file.name.to_string());
            let file = file.unwrap_or_default();
            return Err(resume_point::lake_older(
                &overlap.until,
                change.cluster_time,
                &file,
            ));
        }
        overlap.skipped += u64::from(!is_behind);
        if is_last || is_behind {
            let skipped = overlap.skipped;
            reporter.notify(Notice::OverlapPassed { skipped });
            self.last_change = Some(overlap.until);
            self.last_number = number;
            return Ok(is_last.then_some(Placement::InOverlap));
        }
        let has_its_time = change.cluster_time == overlap.until.cluster_time;
        let may_lie_behind = overlap.may_be_filtered && !overlap.is_invalidate;
        let is_uncertain = may_lie_behind && has_its_time && overlap.uncertain_since.is_none();
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
        let newest = self.newest_hour();
        match newest {
            Some(newest) if Hour::of(change.cluster_time) < newest => {
                Err(resume_point::time_went_back(change.cluster_time, newest))
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
        let buffered = self
            .queue
            .back()
            .map(|batch| batch.hour)
            .or(self.commit.hour());
        buffered.or(self.file.as_ref().map(|file| file.name.hour))
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
        let (taken, open) = match self.queue.back_mut() {
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
        taken
    }

    /// Seals the open batch, if there is one.
    pub fn seal_open(&mut self, reason: FlushReason) {
        if let Some(open) = self.queue.back_mut() {
            open.sealed.get_or_insert(reason);
        }
    }

    /// Tries at once what waits for its next try.
    pub fn hurry(&mut self) {
        self.commit.hurry();
        if let TailState::Unknown(state) = &mut self.tail_state {
            state.hurry();
        }
    }

    /// When there may be something to do, in monotonic milliseconds. A tail is only loaded for changes that need it.
    pub fn wake_at_ms(&self, now: Now, loads_tail: bool) -> Option<u64> {
        let look = match self.tail_state {
            TailState::Unknown(state) if loads_tail => state.wake_at_ms(),
            _ => None,
        };
        let commit = match &self.commit {
            CommitState::Idle => self
                .hour_end_in_ms(now)
                .map(|in_ms| now.monotonic_ms + in_ms),
            unfinished => unfinished.wake_at_ms(),
        };
        look.into_iter().chain(commit).min()
    }

    /// Encoded bytes that it holds in memory.
    pub fn buffered_bytes(&self) -> u64 {
        self.queue.iter().map(Batch::len_bytes).sum::<u64>() + self.commit.len_bytes()
    }

    /// Changes that it holds in memory.
    pub fn buffered_changes(&self) -> u64 {
        let queued = self.queue.iter().map(|batch| u64::from(batch.changes));
        queued.sum::<u64>() + self.commit.changes()
    }
}
