//! The start: checkpoint and lake are read and reconciled, the starting position is anchored.

use std::collections::BTreeMap;

use super::entry::{Entry, refuse_behind, restart_time};
use super::messages::Voice;
use super::progress::{PASSED_OVER, Point, Progress};
use super::{
    Action, Actions, Feed, Found, Handover, LaneId, Notice, Now, OnHistoryLost, Stage, StartAt, Try,
};
use crate::failure::{Disposition, Failure};
use crate::namespace::selection::Watched;
use crate::position::{Checkpoint, ClusterTime, LastChange, Mark, Parted, Position, Stored};

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

    pub(super) fn loaded(&mut self, result: Result<Found, Failure>, now: Now, out: &mut Actions) {
        let outcome = result.and_then(|found| self.reconcile(found, out));
        if let Err(failure) = outcome {
            self.start_failed(&failure, now, out);
        }
    }

    pub(super) fn start_failed(&mut self, failure: &Failure, now: Now, out: &mut Actions) {
        let (backoff, trouble) = (&mut self.load_backoff, &mut self.troubles.start);
        self.load = Voice::of_feed(out).fail(failure, backoff, trouble, now);
    }

    pub(super) fn start_worked(&mut self, out: &mut Actions) {
        self.load = Try::Ready;
        Voice::of_feed(out).mend(&mut self.load_backoff, &mut self.troubles.start);
    }

    /// The lake is the truth, the checkpoint follows.
    fn reconcile(&mut self, mut found: Found, out: &mut Actions) -> Result<(), Failure> {
        let (watched, start_at) = (&self.config.watched, self.config.start_at);
        found.handover = found
            .handover
            .take()
            .and_then(|it| settled(it, watched, start_at, found.stored.as_ref(), found.oldest));
        if let Some(handover) = found.handover.clone() {
            self.refuse_lost(&handover, &found)?;
            // What a feed with other filters left in the lake may not be in this stream: the cluster's
            // time is needed, to know it by.
            self.start_worked(out);
            self.seek(found);
            Voice::of_feed(out).say(Notice::TakesOver(handover));
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
    fn refuse_lost(&self, handover: &Handover, found: &Found) -> Result<(), Failure> {
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
    fn begin(&mut self, found: Found, out: &mut Actions) -> Result<(), Failure> {
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
            return self.anchor(&checkpoint, 0, found, out);
        }
        if let (Some(path), None) = (&found.orphan, start_at) {
            return Err(no_checkpoint(path));
        }
        if let (Some(time), Some(_)) = (start_at, self.config.only_namespace()) {
            let checkpoint = self.blank(Position::At(time));
            return self.anchor(&checkpoint, 0, found, out);
        }
        self.start_worked(out);
        self.seek(found);
        Ok(())
    }

    /// The cluster's time is needed first.
    fn seek(&mut self, found: Found) {
        self.found = Some(found);
        self.stage = Stage::Seeking;
    }

    fn blank(&self, position: Position) -> Checkpoint {
        Checkpoint::new(position, &self.config.stream_hash)
    }

    /// The token belongs to a stream with another pipeline, and may be none of this one: the server could
    /// refuse it. So the stream is opened at the token's time, and what the lake holds is passed over.
    fn stream_changed(&mut self, found: Found, out: &mut Actions) -> Result<(), Failure> {
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
            self.start_worked(out);
            self.seek(found);
        }
        Voice::of_feed(out).say(notice);
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
        if self.stage == Stage::Bridging {
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
                self.anchor(&checkpoint, 0, found, out)
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
                self.anchor(&checkpoint, 0, found, out)
            }
        };
        if let Err(failure) = outcome {
            // What was found may have been put right by then.
            self.stage = Stage::Loading;
            self.start_failed(&failure, now, out);
        }
    }

    /// Takes a starting position that is to be saved before anything is read.
    fn anchor(
        &mut self,
        checkpoint: &Checkpoint,
        revision: u64,
        found: Found,
        out: &mut Actions,
    ) -> Result<(), Failure> {
        let from_tail = checkpoint.last_change.is_some() && revision == 0;
        let entry = Entry::of(checkpoint, self.config.only_namespace());
        let entry = match checkpoint.position {
            Position::At(time) => entry.at(time),
            Position::After(_) => entry,
        };
        self.enter(checkpoint, entry, found, out)?;
        if revision == 0 {
            out.push(Action::Tell(
                None,
                Notice::StartsAt {
                    position: checkpoint.position.clone(),
                    from_tail,
                },
            ));
        }
        self.revision = revision;
        self.saved = None;
        self.stage = Stage::Anchoring;
        Ok(())
    }

    /// Goes on from a checkpoint; `refiltered_at` is the cluster's time, if the stream has changed.
    fn resume(
        &mut self,
        mut found: Found,
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
        let handover = found.handover.take().filter(|it| !is_behind(it, &found));
        let handed_over_at = handover.as_ref().map(|handover| handover.at);
        checkpoint.collections = joined(checkpoint.collections, handover, checkpoint.refiltered_at);
        if let Some(refiltered_at) = refiltered_at
            && let Some(time) = handed_over_at.or(restart_time(&checkpoint))
        {
            self.part(&mut checkpoint);
            checkpoint.refiltered_at = Some(refiltered_at);
            // What lies behind a gap is judged as all else, if it is read again from before that.
            checkpoint.restarted_at.take_if(|it| *it > time);
            let entry = Entry::of(&checkpoint, self.config.only_namespace()).at(time);
            checkpoint.position = Position::At(time);
            checkpoint.read_until = Some(time);
            self.enter(&checkpoint, entry, found, out)?;
            self.revision = revision;
            self.saved = None;
            self.stage = Stage::Anchoring;
            return Ok(());
        }
        let entry = Entry::of(&checkpoint, self.config.only_namespace());
        self.enter(&checkpoint, entry, found, out)?;
        self.revision = revision;
        self.saved = Some(checkpoint);
        self.stage = Stage::Running;
        Ok(())
    }

    /// Notes where each collection stands that leaves a feed of many for a stream of its own.
    fn part(&self, checkpoint: &mut Checkpoint) {
        let Some(selection) = self.config.watched.selection() else {
            return;
        };
        checkpoint
            .parted
            .retain(|it| !selection.matches(&it.database, &it.collection));
        let (Some(earlier), Some(until)) = (&checkpoint.selection, restart_time(checkpoint)) else {
            return;
        };
        for (database, collection) in &selection.apart {
            if earlier.matches(database, collection) {
                checkpoint.parted.push(Parted {
                    database: database.clone(),
                    collection: collection.clone(),
                    until,
                });
            }
        }
    }

    /// Takes a position, and learns where the lake ends if that is one collection's.
    fn enter(
        &mut self,
        checkpoint: &Checkpoint,
        entry: Entry,
        found: Found,
        out: &mut Actions,
    ) -> Result<(), Failure> {
        self.lanes.clear();
        if let Some(namespace) = self.config.only_namespace().cloned() {
            let lane = self.lanes.of(&namespace, &self.config);
            let voice = &mut Voice::of_lane(out, lane);
            self.lanes[lane].join(found.tail, &entry, voice)?;
            self.lanes.settle(lane);
        }
        self.start_worked(out);
        let marks = entry.marks().map(|mark| mark.last_change.cluster_time);
        let tails = self
            .lanes
            .iter()
            .filter_map(|lane| lane.last_change.as_ref());
        let times = marks.chain(tails.map(|last| last.cluster_time));
        self.last_change_time = times.max();
        self.entry = entry;
        self.restarted_at = checkpoint.restarted_at;
        self.refiltered_at = checkpoint.refiltered_at;
        self.parted.clone_from(&checkpoint.parted);
        self.unsure_save = None;
        self.is_save_urgent = false;
        let point = Point {
            position: checkpoint.position.clone(),
            read_until: checkpoint.read_until,
        };
        self.progress = Progress::from(point.clone());
        if self.config.only_namespace().is_some() && self.lanes.are_passing_over() {
            self.progress.begin(PASSED_OVER, LaneId::ONLY, point);
        }
        Ok(())
    }

    /// A collection's end in the lake was looked up.
    pub(super) fn looked(
        &mut self,
        id: LaneId,
        result: Result<super::Tail, Failure>,
        now: Now,
        out: &mut Actions,
    ) {
        let voice = &mut Voice::of_lane(out, id);
        self.lanes[id].looked(result, &self.entry, now, voice);
        self.lanes.settle(id);
        self.take_held(now, out);
    }
}

/// What remains of a handover once it is known what else says where to begin.
///
/// `START_AT` decides where a feed of many without a checkpoint begins, unless the oplog is seen to have lost that:
/// it may be left from the single feeds' own first start. One that has a checkpoint goes on with it
/// until the oplog is seen to have lost it, whoever is further: what happened to a whole database only it has.
#[must_use]
pub fn settled(
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
fn takes_over_at(handover: &Handover, found: &Found) -> ClusterTime {
    let Some(file) = &found.tail else {
        return handover.at;
    };
    let end = file.last.cluster_time;
    if is_behind(handover, found) {
        return end;
    }
    end.max(handover.at)
}

/// Whether a collection's files end before what another feed knows that it brought there, or might: of a
/// transaction's changes, which have one time, some may be missing.
fn is_behind(handover: &Handover, found: &Found) -> bool {
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
    let mut lasts = handover.marks.iter().map(|mark| &mark.last_change);
    lasts.any(|last| is_cut(last) || refuse_behind(last, file).is_err())
}

/// A feed's marks, and those of others that are newer. Those from before the streams last changed were judged then.
fn joined(
    own: Vec<Mark>,
    handover: Option<Handover>,
    refiltered_at: Option<ClusterTime>,
) -> Vec<Mark> {
    let mut others = handover.map(|handover| handover.marks).unwrap_or_default();
    others.retain(|mark| Some(mark.last_change.cluster_time) > refiltered_at);
    let mut newest = BTreeMap::<(String, String), Mark>::new();
    for mark in own.into_iter().chain(others) {
        let known = newest.entry((mark.database.clone(), mark.collection.clone()));
        let known = known.or_insert_with(|| mark.clone());
        if known.last_change.cluster_time < mark.last_change.cluster_time {
            *known = mark;
        }
    }
    newest.into_values().collect()
}

/// A feed of many without a checkpoint can't tell by its lake where it stood: a quiet collection's file ends
/// long before that.
#[must_use]
pub fn no_checkpoint(path: &str) -> Failure {
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
