//! The start: checkpoint and lake are read and reconciled, the starting position is anchored.

use std::collections::BTreeMap;

use super::messages::Reporter;
use super::progress::{OVERLAP, Progress, StreamPoint};
use super::resume_point::{ResumePoint, refuse_older_tail, restart_time};
use super::{
    Action, Actions, Attempt, Feed, Handover, LaneId, Notice, Now, OnHistoryLost, Stage, StartAt,
    StartState,
};
use crate::failure::{Disposition, Failure};
use crate::namespace::selection::Watched;
use crate::position::{
    Checkpoint, ClusterTime, Departure, LastChange, Position, Stored, Watermark,
};

impl Feed {
    pub(super) fn advance_start(&mut self, now: Now, out: &mut Actions) {
        // A save may still be under way where the lake turned out to be behind; what is loaded
        // beside it may be older than it.
        let is_saving = self.save == Attempt::Running;
        if self.draining || is_saving || !self.load.may_start(now) {
            return;
        }
        self.load = Attempt::Running;
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
        let outcome = result.and_then(|found| self.reconcile(found, out));
        if let Err(failure) = outcome {
            self.start_failed(&failure, now, out);
        }
    }

    pub(super) fn start_failed(&mut self, failure: &Failure, now: Now, out: &mut Actions) {
        let (backoff, trouble) = (&mut self.load_backoff, &mut self.troubles.start);
        self.load = Reporter::of_feed(out).failed(failure, backoff, trouble, now);
    }

    pub(super) fn start_succeeded(&mut self, out: &mut Actions) {
        self.load = Attempt::Ready;
        Reporter::of_feed(out).recovered(&mut self.load_backoff, &mut self.troubles.start);
    }

    /// The lake is the truth, the checkpoint follows.
    fn reconcile(&mut self, mut found: StartState, out: &mut Actions) -> Result<(), Failure> {
        let (watched, start_at) = (&self.config.watched, self.config.start_at);
        found.handover = found.handover.take().and_then(|it| {
            effective_handover(it, watched, start_at, found.stored.as_ref(), found.oldest)
        });
        if let Some(handover) = found.handover.clone() {
            self.refuse_lost(&handover, &found)?;
            // What a feed with other filters left in the lake may not be in this stream: the cluster's
            // time is needed, to know it by.
            self.start_succeeded(out);
            self.ask_time(found);
            Reporter::of_feed(out).notify(Notice::TakingOver(handover));
            return Ok(());
        }
        match &found.stored {
            Some(Stored { checkpoint, .. })
                if checkpoint.stream_hash != self.config.stream_hash =>
            {
                self.stream_changed(found, out)
            }
            Some(_) => self.resume(found, None, out),
            None => self.begin(found, out),
        }
    }

    /// Before the position is saved, while the settings can still be set back.
    fn refuse_lost(&self, handover: &Handover, found: &StartState) -> Result<(), Failure> {
        let is_meant = self.config.on_history_lost == OnHistoryLost::Restart;
        let own_time = found
            .stored
            .as_ref()
            .and_then(|stored| restart_time(&stored.checkpoint));
        let is_back = own_time.is_none_or(|own_time| handover.at < own_time);
        let lost = found.oldest.filter(|oldest| handover.at < *oldest);
        let Some(oldest) = lost.filter(|_| is_back && !is_meant) else {
            return Ok(());
        };
        Err(Failure {
            disposition: Disposition::Halt,
            cause: "handover_lost",
            message: format!(
                "the shared stream is to go on where {from} stood, at {at}, which the oplog no longer holds: it \
                 begins at {oldest}. Leave that collection out (!name in MONGODB_COLLECTIONS), or delete its \
                 checkpoint, {from}, to have it from where the stream stands; what lies between is lost. \
                 Nothing was saved: set back, silt goes on as before",
                from = handover.from,
                at = handover.at,
            ),
        })
    }

    /// A feed without a checkpoint.
    fn begin(&mut self, found: StartState, out: &mut Actions) -> Result<(), Failure> {
        let start_at = match self.config.start_at {
            StartAt::Time(time) => Some(time),
            StartAt::Now => None,
        };
        if let Some(file) = &found.tail {
            let last = file.last.clone();
            let position = Position::After(last.token.clone());
            let checkpoint = Checkpoint {
                read_until: Some(last.cluster_time),
                last_change: Some(last),
                ..self.blank(position)
            };
            return self.save_start(&checkpoint, 0, found, out);
        }
        if let (Some(path), None) = (&found.orphan, start_at) {
            return Err(checkpoint_missing(path));
        }
        if let (Some(time), Some(_)) = (start_at, self.config.only_namespace()) {
            let checkpoint = self.blank(Position::At(time));
            return self.save_start(&checkpoint, 0, found, out);
        }
        self.start_succeeded(out);
        self.ask_time(found);
        Ok(())
    }

    /// The cluster's time is needed first.
    fn ask_time(&mut self, found: StartState) {
        self.found = Some(found);
        self.stage = Stage::AskingTime;
    }

    fn blank(&self, position: Position) -> Checkpoint {
        Checkpoint::new(position, &self.config.stream_hash)
    }

    /// The token belongs to a stream with another pipeline, and may be none of this one: the server could
    /// refuse it. So the stream is opened at the token's time, and what the lake holds is passed over.
    fn stream_changed(&mut self, found: StartState, out: &mut Actions) -> Result<(), Failure> {
        let Some(Stored { checkpoint, .. }) = &found.stored else {
            return Ok(());
        };
        let at = restart_time(checkpoint);
        let notice = Notice::StreamChanged {
            stored: checkpoint.stream_hash.clone(),
            current: self.config.stream_hash.clone(),
            at,
        };
        if at.is_none() {
            self.resume(found, None, out)?;
        } else {
            self.start_succeeded(out);
            self.ask_time(found);
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
        // `startAtOperationTime` is inclusive, and what happened at this time is past.
        let next = ClusterTime {
            increment: time.increment.saturating_add(1),
            ..time
        };
        if self.stage == Stage::RecordingGap {
            return self.gap_ends(next, now, out);
        }
        let Some(found) = self.found.take() else {
            return;
        };
        let outcome = match (&found.stored, &found.handover) {
            (Some(_), _) => self.resume(found, Some(time), out),
            (None, Some(handover)) => {
                let checkpoint = Checkpoint {
                    refiltered_at: Some(time),
                    collections: joined(Vec::new(), Some(handover.clone()), None),
                    ..self.blank(Position::At(takes_over_at(handover, &found)))
                };
                self.save_start(&checkpoint, 0, found, out)
            }
            (None, None) => {
                let checkpoint = match self.config.start_at {
                    // Streams with other filters may have been there before.
                    StartAt::Time(at) => Checkpoint {
                        refiltered_at: Some(time),
                        ..self.blank(Position::At(at))
                    },
                    StartAt::Now => self.blank(Position::At(next)),
                };
                self.save_start(&checkpoint, 0, found, out)
            }
        };
        if let Err(failure) = outcome {
            // What was found may have been put right by then.
            self.stage = Stage::Loading;
            self.start_failed(&failure, now, out);
        }
    }

    /// Takes a starting position that is to be saved before anything is read.
    fn save_start(
        &mut self,
        checkpoint: &Checkpoint,
        revision: u64,
        found: StartState,
        out: &mut Actions,
    ) -> Result<(), Failure> {
        let from_tail = checkpoint.last_change.is_some() && revision == 0;
        let resume_point = ResumePoint::of(checkpoint, self.config.only_namespace());
        let resume_point = match checkpoint.position {
            Position::At(time) => resume_point.at(time),
            Position::After(_) => resume_point,
        };
        self.resume_at(checkpoint, resume_point, found, out)?;
        if revision == 0 {
            out.push(Action::Notify(
                None,
                Notice::StartsAt {
                    position: checkpoint.position.clone(),
                    from_tail,
                },
            ));
        }
        self.revision = revision;
        self.saved = None;
        self.stage = Stage::SavingStart;
        Ok(())
    }

    /// Goes on from a checkpoint; `refiltered_at` is the cluster's time, if the stream has changed.
    fn resume(
        &mut self,
        mut found: StartState,
        refiltered_at: Option<ClusterTime>,
        out: &mut Actions,
    ) -> Result<(), Failure> {
        let Some(Stored {
            mut checkpoint,
            revision,
            ..
        }) = found.stored.take()
        else {
            return Ok(());
        };
        // What it has lost of what others wrote, it makes up for by itself.
        let handover = found
            .handover
            .take()
            .filter(|it| !is_lake_older(it, &found));
        let handed_over_at = handover.as_ref().map(|handover| handover.at);
        checkpoint.collections = joined(checkpoint.collections, handover, checkpoint.refiltered_at);
        if let Some(refiltered_at) = refiltered_at
            && let Some(time) = handed_over_at.or(restart_time(&checkpoint))
        {
            self.note_departures(&mut checkpoint);
            checkpoint.refiltered_at = Some(refiltered_at);
            // What lies behind a gap is judged as all else, if it is read again from before that.
            checkpoint.restarted_at.take_if(|it| *it > time);
            let resume_point = ResumePoint::of(&checkpoint, self.config.only_namespace()).at(time);
            checkpoint.position = Position::At(time);
            checkpoint.read_until = Some(time);
            self.resume_at(&checkpoint, resume_point, found, out)?;
            self.revision = revision;
            self.saved = None;
            self.stage = Stage::SavingStart;
            return Ok(());
        }
        let resume_point = ResumePoint::of(&checkpoint, self.config.only_namespace());
        self.resume_at(&checkpoint, resume_point, found, out)?;
        self.revision = revision;
        self.saved = Some(checkpoint);
        self.stage = Stage::Running;
        Ok(())
    }

    /// Notes where each collection stands that leaves a feed of many for a stream of its own.
    fn note_departures(&self, checkpoint: &mut Checkpoint) {
        let Some(selection) = self.config.watched.selection() else {
            return;
        };
        checkpoint
            .departed
            .retain(|it| !selection.matches(&it.database, &it.collection));
        let (Some(earlier), Some(until)) = (&checkpoint.selection, restart_time(checkpoint)) else {
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

    /// Takes a position, and learns where the lake ends if that is one collection's.
    fn resume_at(
        &mut self,
        checkpoint: &Checkpoint,
        resume_point: ResumePoint,
        found: StartState,
        out: &mut Actions,
    ) -> Result<(), Failure> {
        self.lanes.clear();
        if let Some(namespace) = self.config.only_namespace().cloned() {
            let lane = self.lanes.of(&namespace, &self.config);
            let reporter = &mut Reporter::of_lane(out, lane);
            self.lanes[lane].join(found.tail, &resume_point, reporter)?;
            self.lanes.settle(lane);
        }
        self.start_succeeded(out);
        let watermarks = resume_point
            .watermarks()
            .map(|watermark| watermark.last_change.cluster_time);
        let tails = self
            .lanes
            .iter()
            .filter_map(|lane| lane.last_change.as_ref());
        let times = watermarks.chain(tails.map(|last| last.cluster_time));
        self.last_change_time = times.max();
        self.resume_point = resume_point;
        self.restarted_at = checkpoint.restarted_at;
        self.refiltered_at = checkpoint.refiltered_at;
        self.departed.clone_from(&checkpoint.departed);
        self.uncertain_save = None;
        self.is_save_urgent = false;
        let point = StreamPoint {
            position: checkpoint.position.clone(),
            read_until: checkpoint.read_until,
        };
        self.progress = Progress::from(point.clone());
        if self.config.only_namespace().is_some() && self.lanes.have_overlap() {
            self.progress.begin(OVERLAP, LaneId::ONLY, point);
        }
        Ok(())
    }

    /// A collection's end in the lake was looked up.
    pub(super) fn tail_loaded(
        &mut self,
        id: LaneId,
        result: Result<super::Tail, Failure>,
        now: Now,
        out: &mut Actions,
    ) {
        let reporter = &mut Reporter::of_lane(out, id);
        self.lanes[id].tail_loaded(result, &self.resume_point, now, reporter);
        self.lanes.settle(id);
        self.take_waiting(now, out);
    }
}

/// What remains of a handover once it is known what else says where to begin.
///
/// `START_AT` decides where a feed of many without a checkpoint begins, unless the oplog is seen to have lost that:
/// it may be left from the single feeds' own first start. One that has a checkpoint goes on with it
/// until the oplog is seen to have lost it, whoever is further: what happened to a whole database only it has.
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
    let own_time = stored.map(|stored| restart_time(&stored.checkpoint));
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
fn takes_over_at(handover: &Handover, found: &StartState) -> ClusterTime {
    let Some(file) = &found.tail else {
        return handover.at;
    };
    let end = file.last.cluster_time;
    if is_lake_older(handover, found) {
        return end;
    }
    end.max(handover.at)
}

/// Whether a collection's files end before what another feed knows that it brought there, or might: of a
/// transaction's changes, which have one time, some may be missing.
fn is_lake_older(handover: &Handover, found: &StartState) -> bool {
    let Some(file) = &found.tail else {
        return false;
    };
    let is_cut = |last: &LastChange| {
        let has_its_time = last.cluster_time == file.last.cluster_time;
        has_its_time
            && last.cluster_time < handover.at
            && last.token != file.last.token
            && !file.last.token.is_of_invalidate()
    };
    let mut lasts = handover
        .watermarks
        .iter()
        .map(|watermark| &watermark.last_change);
    lasts.any(|last| is_cut(last) || refuse_older_tail(last, file).is_err())
}

/// A feed's watermarks, and those of others that are newer. Those from before the streams last changed were judged then.
fn joined(
    own: Vec<Watermark>,
    handover: Option<Handover>,
    refiltered_at: Option<ClusterTime>,
) -> Vec<Watermark> {
    let mut others = handover
        .map(|handover| handover.watermarks)
        .unwrap_or_default();
    others.retain(|watermark| Some(watermark.last_change.cluster_time) > refiltered_at);
    let mut newest = BTreeMap::<(String, String), Watermark>::new();
    for watermark in own.into_iter().chain(others) {
        let known = newest.entry((watermark.database.clone(), watermark.collection.clone()));
        let known = known.or_insert_with(|| watermark.clone());
        if known.last_change.cluster_time < watermark.last_change.cluster_time {
            *known = watermark;
        }
    }
    newest.into_values().collect()
}

/// A feed of many without a checkpoint can't tell by its lake where it stood: a quiet collection's file ends
/// long before that.
fn checkpoint_missing(path: &str) -> Failure {
    Failure {
        disposition: Disposition::Halt,
        cause: "checkpoint_missing",
        message: format!(
            "the shared stream has no checkpoint, but the lake holds changes of its collections, such as {path}. \
             Starting now could lose what happened since. If CHECKPOINT_STORE, CHECKPOINT_DATABASE or \
             CHECKPOINT_COLLECTION was changed, set the old one again. Else set START_AT to a time before which all \
             changes are in the lake (what it holds from then on is passed over), or to the present time to \
             start there"
        ),
    }
}
