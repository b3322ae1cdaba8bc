//! One collection's way from the stream into the lake: what waits, what is committed, where the lake
//! ends.

use std::collections::VecDeque;

use super::commits::CommitState;
use super::entry::{self, Entry};
use super::messages::Voice;
use super::{Action, Archived, Config, LaneId, Notice, Now, Tail, Trouble, Try};
use crate::backoff::Backoff;
use crate::batch::{Batch, Change, FlushReason};
use crate::failure::Failure;
use crate::file::hour_file::{Hour, HourFile};
use crate::limits::Limits;
use crate::namespace::Namespace;
use crate::position::LastChange;

/// Changes that the lake holds already are passed over up to here, as they are read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Skip {
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
    pub unsure_since: Option<u64>,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It waits in a batch that began with it.
    Begins,
    /// It waits in the batch of others.
    Joins,
    /// The lake holds it.
    Passed,
    /// The lake seems to hold it: the position must not pass it yet.
    PassedUnsure,
}

/// What is known of a collection's newest hour file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Knowledge {
    /// It is to be looked up before the collection's changes are taken.
    Unknown(Try),
    Known,
}

/// What kept a change from being taken. The stream is to be closed.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The lake's last change isn't in the stream.
    LakeBehind(Failure),
    /// It came from an hour that is past already.
    TimeRanBack(Failure),
}

/// The state of one collection.
#[derive(Debug)]
pub(super) struct Lane {
    pub id: LaneId,
    pub namespace: Namespace,
    knowledge: Knowledge,
    look_backoff: Backoff,
    pub look_trouble: Option<Trouble>,
    pub skip: Option<Skip>,
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
            knowledge: Knowledge::Unknown(Try::Ready),
            look_backoff: backoff(6),
            look_trouble: None,
            skip: None,
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
        self.knowledge == Knowledge::Known
    }

    pub fn is_looking(&self) -> bool {
        self.knowledge == Knowledge::Unknown(Try::Running)
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
    pub fn advance_look(&mut self, now: Now, voice: &mut Voice<'_>) {
        if let Knowledge::Unknown(state) = self.knowledge
            && state.may_start(now)
        {
            self.knowledge = Knowledge::Unknown(Try::Running);
            voice.act(Action::Look(self.id));
        }
    }

    pub fn looked(
        &mut self,
        result: Result<Tail, Failure>,
        entry: &Entry,
        now: Now,
        voice: &mut Voice<'_>,
    ) {
        let joined = result.and_then(|tail| self.join(tail, entry, voice));
        let trouble = &mut self.look_trouble;
        match joined {
            Ok(()) => voice.mend(&mut self.look_backoff, trouble),
            Err(failure) => {
                let state = voice.fail(&failure, &mut self.look_backoff, trouble, now);
                self.knowledge = Knowledge::Unknown(state);
            }
        }
    }

    /// Learns where the lake ends, and what of the stream it holds already.
    pub fn join(
        &mut self,
        tail: Tail,
        entry: &Entry,
        voice: &mut Voice<'_>,
    ) -> Result<(), Failure> {
        let mark = entry.mark(&self.namespace);
        let joined = entry::reconcile_lane(mark, tail.as_ref(), entry)?;
        self.last_change = tail
            .as_ref()
            .map(|file| file.last.clone())
            .or_else(|| mark.map(|mark| mark.last_change.clone()));
        self.last_number = 0;
        self.file = tail;
        self.skip = joined;
        self.knowledge = Knowledge::Known;
        if self.skip.is_some() {
            voice.say(Notice::LakeAhead);
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
        voice: &mut Voice<'_>,
    ) -> Result<Taken, Refusal> {
        if let Some(skip) = self.skip.take() {
            let passed = self.pass_over(skip, change, number, voice);
            if let Some(passed) = passed.map_err(Refusal::LakeBehind)? {
                return Ok(passed);
            }
        }
        self.refuse_time_run_back(change)
            .map_err(Refusal::TimeRanBack)?;
        Ok(self.buffer(change, number, limits, now))
    }

    /// Passes a change over, or answers with nothing if it lies behind what the lake holds.
    fn pass_over(
        &mut self,
        mut skip: Skip,
        change: &Change<'_>,
        number: u64,
        voice: &mut Voice<'_>,
    ) -> Result<Option<Taken>, Failure> {
        let is_last = skip.until.token.as_extended_json() == change.token;
        let is_behind = !is_last && change.cluster_time > skip.until.cluster_time;
        let may_stay_away = skip.is_invalidate || skip.may_be_filtered;
        let must_come = !may_stay_away || skip.unsure_since.is_some();
        if is_behind && must_come {
            let file = self.file.as_ref().map(|file| file.name.to_string());
            let file = file.unwrap_or_default();
            return Err(entry::lake_behind(&skip.until, change.cluster_time, &file));
        }
        skip.skipped += u64::from(!is_behind);
        if is_last || is_behind {
            let skipped = skip.skipped;
            voice.say(Notice::CaughtUp { skipped });
            self.last_change = Some(skip.until);
            self.last_number = number;
            return Ok(is_last.then_some(Taken::Passed));
        }
        let has_its_time = change.cluster_time == skip.until.cluster_time;
        let may_lie_behind = skip.may_be_filtered && !skip.is_invalidate;
        let is_unsure = may_lie_behind && has_its_time && skip.unsure_since.is_none();
        if is_unsure {
            skip.unsure_since = Some(number);
        }
        self.skip = Some(skip);
        Ok(Some(if is_unsure {
            Taken::PassedUnsure
        } else {
            Taken::Passed
        }))
    }

    fn refuse_time_run_back(&self, change: &Change<'_>) -> Result<(), Failure> {
        let newest = self.newest_hour();
        match newest {
            Some(newest) if Hour::of(change.cluster_time) < newest => {
                Err(entry::time_ran_back(change.cluster_time, newest))
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

    fn buffer(&mut self, change: &Change<'_>, number: u64, limits: &Limits, now: Now) -> Taken {
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
                (Taken::Joins, open)
            }
            _ => {
                let mut batch = Batch::begin(change, now.monotonic_ms);
                batch.numbers = (number, number);
                (Taken::Begins, self.queue.push_back_mut(batch))
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
        if let Knowledge::Unknown(state) = &mut self.knowledge {
            state.hurry();
        }
    }

    /// When there may be something to do, in monotonic milliseconds. Who drains looks nothing up.
    pub fn wake_at_ms(&self, now: Now, draining: bool) -> Option<u64> {
        let look = match self.knowledge {
            Knowledge::Unknown(state) if !draining => state.wake_at_ms(),
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
