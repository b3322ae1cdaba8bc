//! The start: the checkpoint and the tail are read and reconciled, and the starting position is saved.

use std::collections::BTreeMap;

use super::attempt::Operation;
use super::progress::{Progress, StreamPoint};
use super::reporter::Reporter;
use super::resume_point::{ResumePoint, refuse_older_tail};
use super::{
    Action, Actions, Feed, LaneId, Notice, Now, OnHistoryLost, Stage, StartAt, StartState, Tail,
};
use crate::failure::{Disposition, Failure};
use crate::handover::Handover;
use crate::namespace::Namespace;
use crate::namespace::selection::Watched;
use crate::position::{
    Checkpoint, ClusterTime, Departure, LastChange, Position, Stored, Watermark,
};

/// The start as far as it has come.
#[derive(Debug)]
pub(super) struct Start {
    /// Loads, asks for the cluster's time, or records a gap.
    pub operation: Operation,
    /// What was loaded, until the cluster's time is known.
    state: Option<StartState>,
    /// Where the feed has resumed.
    pub resume_point: ResumePoint,
}

impl Start {
    pub fn new(operation: Operation) -> Self {
        Self {
            operation,
            state: None,
            resume_point: ResumePoint::default(),
        }
    }
}

impl Feed {
    pub(super) fn advance_start(&mut self, now: Now, out: &mut Actions) {
        // A save may still be in progress if the tail turned out to be older than the checkpoint; what is
        // loaded meanwhile may be older than the save.
        let is_saving = self.saves.operation.is_running();
        if self.draining || is_saving || !self.start.operation.may_start(now) {
            return;
        }
        self.start.operation.start();
        out.push(match self.stage {
            Stage::AskingTime => Action::AskClusterTime,
            _ => Action::Load,
        });
    }

    pub(super) fn loaded(
        &mut self,
        result: Result<StartState, Failure>,
        now: Now,
        out: &mut Actions,
    ) {
        let outcome = result.and_then(|state| self.reconcile(state, out));
        if let Err(failure) = outcome {
            self.start_failed(&failure, now, out);
        }
    }

    pub(super) fn start_failed(&mut self, failure: &Failure, now: Now, out: &mut Actions) {
        let mut reporter = Reporter::of_feed(out);
        self.start.operation.failed(failure, now, &mut reporter);
    }

    pub(super) fn start_succeeded(&mut self, out: &mut Actions) {
        let mut reporter = Reporter::of_feed(out);
        self.start.operation.succeeded(&mut reporter);
    }

    /// The lake decides, the checkpoint follows.
    fn reconcile(&mut self, mut state: StartState, out: &mut Actions) -> Result<(), Failure> {
        let (watched, start_at) = (&self.config.watched, self.config.start_at);
        if let Some(stored) = &mut state.stored {
            stored.checkpoint.keep_watermarks_in(watched.layout());
        }
        let (stored, oldest) = (state.stored.as_ref(), state.oldest);
        let handover = state.handover.take();
        state.handover =
            handover.and_then(|it| effective_handover(it, watched, start_at, stored, oldest));
        if let Some(handover) = state.handover.clone() {
            self.refuse_lost(&handover, &state)?;
            // Changes that a feed with other filters left in the lake may not be in this stream. They are
            // recognised by the cluster's time.
            self.start_succeeded(out);
            self.ask_time(state);
            Reporter::of_feed(out).notify(Notice::TakingOver(handover));
            return Ok(());
        }
        match &state.stored {
            Some(Stored { checkpoint, .. })
                if checkpoint.stream_hash != self.config.stream_hash =>
            {
                self.stream_changed(state, out)
            }
            Some(_) => self.resume(state, None, out),
            None => self.begin(state, out),
        }
    }

    /// Halts before the position is saved, so that the settings can still be restored.
    fn refuse_lost(&self, handover: &Handover, state: &StartState) -> Result<(), Failure> {
        let is_accepted = self.config.on_history_lost == OnHistoryLost::Restart;
        let stored = state.stored.as_ref();
        let own_time = stored.and_then(|stored| stored.checkpoint.restart_time());
        let goes_back = own_time.is_none_or(|own_time| handover.at < own_time);
        let lost = state.oldest.filter(|oldest| handover.at < *oldest);
        let Some(oldest) = lost.filter(|_| goes_back && !is_accepted) else {
            return Ok(());
        };
        Err(Failure {
            disposition: Disposition::Halt,
            cause: "handover_lost",
            message: format!(
                "the shared stream has to resume where {from} was, at {at}, which the oplog no longer holds: it \
                 begins at {oldest}. Exclude that collection (!name in MONGODB_COLLECTIONS), or delete its \
                 checkpoint, {from}, to archive it from the shared stream's position on; the changes in between \
                 are lost. Nothing was saved: with the previous settings silt continues as before",
                from = handover.from,
                at = handover.at,
            ),
        })
    }

    /// A feed without a checkpoint.
    fn begin(&mut self, state: StartState, out: &mut Actions) -> Result<(), Failure> {
        if let Some(file) = state.tail() {
            let checkpoint = self.checkpoint_at_tail(&state, &file.last.clone());
            return self.save_start(&checkpoint, 0, state, out);
        }
        match self.config.start_at {
            // The lake is known to hold nothing that another stream could have left.
            StartAt::Time(time) if !state.tails.is_empty() => {
                let checkpoint = self.blank(Position::At(time));
                return self.save_start(&checkpoint, 0, state, out);
            }
            StartAt::Time(_) => {}
            StartAt::Now => {
                if let Some(path) = &state.orphan {
                    return Err(checkpoint_missing(path));
                }
            }
        }
        self.start_succeeded(out);
        self.ask_time(state);
        Ok(())
    }

    /// That of a feed that begins after the tail.
    fn checkpoint_at_tail(&self, state: &StartState, last: &LastChange) -> Checkpoint {
        let namespaces = state.tails.iter().map(|(namespace, _)| namespace);
        let watermarks = namespaces.map(|namespace| Watermark {
            database: namespace.database.clone(),
            collection: namespace.collection.clone(),
            last_change: last.clone(),
            is_after_position: false,
        });
        Checkpoint {
            read_until: Some(last.cluster_time),
            collections: watermarks.collect(),
            ..self.blank(Position::After(last.token.clone()))
        }
    }

    /// The cluster's time is needed first.
    fn ask_time(&mut self, state: StartState) {
        self.start.state = Some(state);
        self.stage = Stage::AskingTime;
    }

    fn blank(&self, position: Position) -> Checkpoint {
        Checkpoint::new(position, &self.config.stream_hash)
    }

    /// The token belongs to a stream with another pipeline and may not occur in this one: the server could refuse
    /// it. So the stream is opened at the token's time, and the overlap is dropped.
    fn stream_changed(&mut self, state: StartState, out: &mut Actions) -> Result<(), Failure> {
        let Some(Stored { checkpoint, .. }) = &state.stored else {
            return Ok(());
        };
        let at = checkpoint.restart_time();
        let notice = Notice::StreamChanged {
            stored: checkpoint.stream_hash.clone(),
            current: self.config.stream_hash.clone(),
            at,
        };
        if at.is_none() {
            self.resume(state, None, out)?;
        } else {
            self.start_succeeded(out);
            self.ask_time(state);
        }
        Reporter::of_feed(out).notify(notice);
        Ok(())
    }

    pub(super) fn cluster_time(
        &mut self,
        result: Result<ClusterTime, Failure>,
        now: Now,
        out: &mut Actions,
    ) {
        let time = match result {
            Ok(time) => time,
            Err(failure) => return self.start_failed(&failure, now, out),
        };
        // `startAtOperationTime` is inclusive, and this time is in the past.
        let next = ClusterTime {
            increment: time.increment.saturating_add(1),
            ..time
        };
        if self.stage == Stage::RecordingGap {
            return self.gap_ends(next, now, out);
        }
        let Some(state) = self.start.state.take() else {
            return;
        };
        let outcome = if state.stored.is_some() {
            self.resume(state, Some(time), out)
        } else {
            let checkpoint = self.first_checkpoint(&state, time, next);
            self.save_start(&checkpoint, 0, state, out)
        };
        if let Err(failure) = outcome {
            // The lake or the checkpoint may have been repaired by the next attempt.
            self.stage = Stage::Loading;
            self.start_failed(&failure, now, out);
        }
    }

    /// That of a feed that begins at a time. Streams with other filters may have been there before, unless it
    /// begins now.
    fn first_checkpoint(
        &self,
        state: &StartState,
        time: ClusterTime,
        next: ClusterTime,
    ) -> Checkpoint {
        match (&state.handover, self.config.start_at) {
            (Some(handover), _) => {
                let is_usable = !is_lake_older(handover, state);
                Checkpoint {
                    refiltered_at: Some(time),
                    collections: joined(Vec::new(), Some(handover).filter(|_| is_usable), None),
                    ..self.blank(Position::At(takes_over_at(handover, state)))
                }
            }
            (None, StartAt::Time(at)) => Checkpoint {
                refiltered_at: Some(time),
                ..self.blank(Position::At(at))
            },
            (None, StartAt::Now) => self.blank(Position::At(next)),
        }
    }

    /// Takes a starting position, which is saved before anything is read.
    fn save_start(
        &mut self,
        checkpoint: &Checkpoint,
        revision: u64,
        state: StartState,
        out: &mut Actions,
    ) -> Result<(), Failure> {
        let resume_point = ResumePoint::of(checkpoint);
        let resume_point = match checkpoint.position {
            Position::At(time) => resume_point.at(time),
            Position::After(_) => resume_point,
        };
        self.resume_at(checkpoint, revision, resume_point, state.tails, out)?;
        if revision == 0 {
            Reporter::of_feed(out).notify(Notice::StartsAt {
                position: checkpoint.position.clone(),
                from_tail: matches!(checkpoint.position, Position::After(_)),
            });
        }
        self.saves.saved = None;
        self.stage = Stage::SavingStart;
        Ok(())
    }

    /// Resumes from a checkpoint. `refiltered_at` is the cluster's time if the stream has changed.
    fn resume(
        &mut self,
        mut state: StartState,
        refiltered_at: Option<ClusterTime>,
        out: &mut Actions,
    ) -> Result<(), Failure> {
        let Some(Stored {
            mut checkpoint,
            revision,
            ..
        }) = state.stored.take()
        else {
            return Ok(());
        };
        // Changes of other feeds that the lake has lost are read again.
        let handover = state.handover.take();
        let handover = handover.filter(|it| !is_lake_older(it, &state));
        let handed_over_at = handover.as_ref().map(|handover| handover.at);
        checkpoint.collections = joined(
            checkpoint.collections,
            handover.as_ref(),
            checkpoint.refiltered_at,
        );
        if let Some(refiltered_at) = refiltered_at
            && let Some(time) = handed_over_at.or(checkpoint.restart_time())
        {
            self.note_departures(&mut checkpoint);
            checkpoint.refiltered_at = Some(refiltered_at);
            // If the stream is read again from before a gap, changes after the gap are judged like all others.
            checkpoint.restarted_at.take_if(|it| *it > time);
            checkpoint.position = Position::At(time);
            checkpoint.read_until = Some(time);
            return self.save_start(&checkpoint, revision, state, out);
        }
        let resume_point = ResumePoint::of(&checkpoint);
        self.resume_at(&checkpoint, revision, resume_point, state.tails, out)?;
        self.saves.saved = Some(checkpoint);
        self.stage = Stage::Running;
        Ok(())
    }

    /// Notes the position of each collection that leaves a shared stream for a stream of its own.
    fn note_departures(&self, checkpoint: &mut Checkpoint) {
        let Some(selection) = self.config.watched.selection() else {
            return;
        };
        checkpoint
            .departed
            .retain(|it| !selection.matches(&it.database, &it.collection));
        let (Some(earlier), Some(until)) = (&checkpoint.selection, checkpoint.restart_time())
        else {
            return;
        };
        for (database, collection) in &selection.apart {
            if earlier.matches(database, collection) {
                checkpoint.departed.push(Departure {
                    database: database.clone(),
                    collection: collection.clone(),
                    until,
                });
            }
        }
    }

    /// Takes a position, and the tails that were loaded with it.
    fn resume_at(
        &mut self,
        checkpoint: &Checkpoint,
        revision: u64,
        resume_point: ResumePoint,
        tails: Vec<(Namespace, Option<Tail>)>,
        out: &mut Actions,
    ) -> Result<(), Failure> {
        self.lanes.clear();
        for (namespace, tail) in tails {
            let lane = self.lanes.of(&namespace, &self.config);
            let reporter = &mut Reporter::of_lane(out, lane);
            self.lanes[lane].join(tail, &resume_point, reporter)?;
            self.lanes.settle(lane);
        }
        self.start_succeeded(out);
        let watermarks = resume_point.watermarks().map(|it| &it.last_change);
        let tails = self.lanes.iter();
        let tails = tails.filter_map(|lane| lane.last_change.as_ref());
        let last_changes = watermarks.chain(tails);
        self.last_change_time = last_changes.map(|last| last.cluster_time).max();
        self.start.resume_point = resume_point;
        self.saves.resume_from(checkpoint, revision);
        self.progress = Progress::from(StreamPoint {
            position: checkpoint.position.clone(),
            read_until: checkpoint.read_until,
        });
        Ok(())
    }

    /// A collection's tail was loaded.
    pub(super) fn tail_loaded(
        &mut self,
        id: LaneId,
        result: Result<Option<Tail>, Failure>,
        now: Now,
        out: &mut Actions,
    ) {
        let reporter = &mut Reporter::of_lane(out, id);
        self.lanes[id].tail_loaded(result, &self.start.resume_point, now, reporter);
        self.lanes.settle(id);
        self.take_waiting(now, out);
    }
}

/// The handover that is left after all else that determines where the feed begins.
///
/// A shared stream without a checkpoint begins at `START_AT`, unless the oplog is known not to reach back to it:
/// the setting may be left from the first start of single feeds. With a checkpoint it resumes there, even if
/// others are further, unless the oplog is known not to reach back to it: only its own stream has the events that
/// concern a whole database.
fn effective_handover(
    mut handover: Handover,
    watched: &Watched,
    start_at: StartAt,
    stored: Option<&Stored>,
    oldest: Option<ClusterTime>,
) -> Option<Handover> {
    if watched.selection().is_none() {
        return Some(handover);
    }
    let is_lost = |time| oldest.is_some_and(|oldest| oldest > time);
    let own_time = stored.map(|stored| stored.checkpoint.restart_time());
    match (own_time, start_at) {
        (None, StartAt::Time(time)) if !is_lost(time) || time > handover.at => return None,
        (Some(Some(own_time)), _) if handover.at > own_time && !is_lost(own_time) => {
            handover.at = own_time;
        }
        _ => {}
    }
    Some(handover)
}

/// Where a feed without a checkpoint takes over: its lake may be further, or have lost files.
fn takes_over_at(handover: &Handover, state: &StartState) -> ClusterTime {
    let Some(file) = state.tail() else {
        return handover.at;
    };
    let end = file.last.cluster_time;
    if is_lake_older(handover, state) {
        return end;
    }
    end.max(handover.at)
}

/// Whether the tail is, or may be, older than what another feed has committed there: a transaction's changes have
/// one time, and some of them may be missing.
fn is_lake_older(handover: &Handover, state: &StartState) -> bool {
    let Some(file) = state.tail() else {
        return false;
    };
    let is_cut = |last: &LastChange| {
        let has_its_time = last.cluster_time == file.last.cluster_time;
        has_its_time
            && last.cluster_time < handover.at
            && last.token != file.last.token
            && !file.last.token.is_of_invalidate()
    };
    let mut lasts = handover.watermarks.iter().map(|it| &it.last_change);
    lasts.any(|last| is_cut(last) || refuse_older_tail(last, file).is_err())
}

/// The watermarks of a feed, or those of other feeds that are newer. Others from before the stream last changed
/// were considered then.
fn joined(
    own: Vec<Watermark>,
    handover: Option<&Handover>,
    refiltered_at: Option<ClusterTime>,
) -> Vec<Watermark> {
    let others = handover.map_or(&[][..], |handover| &handover.watermarks);
    let others = others
        .iter()
        .filter(|it| Some(it.last_change.cluster_time) > refiltered_at);
    let mut newest = BTreeMap::<(String, String), Watermark>::new();
    for watermark in own.into_iter().chain(others.cloned()) {
        let key = (watermark.database.clone(), watermark.collection.clone());
        let known = newest.entry(key).or_insert_with(|| watermark.clone());
        if known.last_change.cluster_time < watermark.last_change.cluster_time {
            *known = watermark;
        }
    }
    newest.into_values().collect()
}

/// The halt of a shared stream without a checkpoint. Its lake can't tell where it stopped: a quiet collection's file
/// ends long before that.
fn checkpoint_missing(path: &str) -> Failure {
    Failure {
        disposition: Disposition::Halt,
        cause: "checkpoint_missing",
        message: format!(
            "the shared stream has no checkpoint, but the lake holds changes of its collections, such as {path}. \
             Starting now could lose the changes since. If CHECKPOINT_STORE, CHECKPOINT_DATABASE or \
             CHECKPOINT_COLLECTION was changed, restore the old value. Otherwise set START_AT to a time before \
             which all changes are in the lake (later ones that it already holds are dropped), or to the present \
             time to start there"
        ),
    }
}
