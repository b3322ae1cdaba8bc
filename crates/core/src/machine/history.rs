//! History lost: the position is no longer in the oplog. The gap is recorded in the lake, and the feed resumes
//! after it if it is configured to.

use super::lane::Overlap;
use super::progress::StreamPoint;
use super::reporter::Reporter;
use super::stream::StreamState;
use super::{Action, Actions, Feed, LaneId, Notice, Now, OnHistoryLost, Stage};
use crate::batch::FlushReason;
use crate::failure::{Disposition, Failure};
use crate::gap::{Gap, Record};
use crate::namespace::Namespace;
use crate::position::{ClusterTime, LastChange, Position, Watermark};

impl Feed {
    /// The server can't resume from the position. `oldest` is the beginning of its oplog.
    pub(super) fn history_lost(
        &mut self,
        failure: &Failure,
        oldest: Option<ClusterTime>,
        now: Now,
        out: &mut Actions,
    ) {
        if let Some((lane, overlap)) = self.only_overlap() {
            return self.resume_after_overlap(lane, overlap);
        }
        let gap = self.gap(oldest);
        // No more changes will come, so there is nothing to wait for.
        self.lanes.seal_open(FlushReason::Halt);
        let message = format!("{}; {gap}", failure.message);
        match self.config.on_history_lost {
            OnHistoryLost::Halt => self.halt_at_gap(failure.cause, &message, now, out),
            OnHistoryLost::Restart => {
                Reporter::of_feed(out).notify(Notice::HistoryLost(message));
                self.stream.close();
                self.stream.state = StreamState::Lost(gap);
            }
        }
    }

    /// The overlap of a feed of one collection: its tail is after the lost position, so nothing may be lost at
    /// all.
    fn only_overlap(&mut self) -> Option<(LaneId, Overlap)> {
        let namespace = self.config.only_namespace()?;
        let id = self.lanes.find(namespace)?;
        Some((id, self.lanes[id].overlap.take()?))
    }

    fn resume_after_overlap(&mut self, lane: LaneId, overlap: Overlap) {
        let last = overlap.until;
        self.progress.set_read(StreamPoint {
            position: Position::After(last.token.clone()),
            read_until: Some(last.cluster_time),
        });
        if let Some(number) = overlap.uncertain_since {
            self.progress.end(number, lane);
        }
        self.lanes[lane].last_change = Some(last);
        self.saves.is_urgent = true;
        self.stream.close();
    }

    fn halt_at_gap(&mut self, cause: &'static str, message: &str, now: Now, out: &mut Actions) {
        let failure = Failure {
            disposition: Disposition::Halt,
            cause,
            message: format!(
                "{message}. To resume after the gap, with a record of it in the lake, set \
                 ON_HISTORY_LOST=restart; a larger oplog prevents it"
            ),
        };
        self.stream.failed(&failure, now, out);
    }

    /// What is lost. A second loss in a row means that the oplog moves on faster than it can be opened at its
    /// beginning: then the feed resumes from now. So it does if the beginning isn't known to be after all that
    /// the lake holds of its only collection. Of many collections, some may have later changes in the lake:
    /// they are an overlap after the gap.
    fn gap(&mut self, oldest: Option<ClusterTime>) -> Gap {
        let last_change = self.newest_change();
        let mut read = self.progress.read().position.cluster_time();
        if self.config.only_namespace().is_some() {
            read = read.max(last_change.as_ref().map(|last| last.cluster_time));
        }
        // Changes that were dropped up to a change that didn't come may not be in the lake.
        let uncertain = self.lanes.uncertain_time();
        let from = uncertain.filter(|it| Some(*it) < read).or(read);
        let until = oldest.filter(|oldest| !self.stream.has_restarted && Some(*oldest) > from);
        Gap {
            from,
            until,
            last_change,
        }
    }

    /// The newest change that the lake has or is to have, of all collections.
    fn newest_change(&self) -> Option<LastChange> {
        let waiting = self.lanes.iter().filter_map(|lane| lane.newest_change());
        let watermarks = self.start.resume_point.watermarks();
        let all = watermarks.map(|it| &it.last_change).chain(waiting);
        all.max_by_key(|last| last.cluster_time).cloned()
    }

    /// The records of a gap: one in the folder of the only collection, or of whole databases, for what the feed
    /// doesn't know of; and one for each other collection that it knows of and that has lost something.
    fn records(&self, gap: &Gap) -> Vec<(Namespace, Record)> {
        let watched = &self.config.watched;
        let all = watched.enclosing_namespace();
        let namespace =
            |it: &Watermark| Namespace::with_layout(&it.database, &it.collection, watched.layout());
        let mut records = vec![(all.clone(), Record::Lost(gap.clone()))];
        for watermark in self.watermarks() {
            let (namespace, last) = (namespace(&watermark), watermark.last_change);
            // What the lake holds after the position isn't lost.
            let archived = Some(last.cluster_time);
            if namespace == all || gap.until <= archived {
                continue;
            }
            let gap = Gap {
                from: gap.from.max(archived),
                until: gap.until,
                last_change: Some(last),
            };
            records.push((namespace, Record::Lost(gap)));
        }
        records
    }

    /// Begins to record the gap once everything that was read is in the lake, and it is known what is saved.
    pub(super) fn advance_lost(&mut self, now: Now, out: &mut Actions) {
        let is_lost = matches!(self.stream.state, StreamState::Lost(_));
        if is_lost && self.lanes.are_archived() && self.saves.is_certain() {
            self.stage = Stage::RecordingGap;
            self.advance_gap(now, out);
        }
    }

    pub(super) fn advance_gap(&mut self, now: Now, out: &mut Actions) {
        let StreamState::Lost(gap) = &self.stream.state else {
            return;
        };
        if self.draining || !self.start.operation.may_start(now) {
            return;
        }
        out.push(match gap.until {
            None => Action::AskClusterTime,
            Some(_) => Action::Record(self.records(gap)),
        });
        self.start.operation.start();
    }

    /// The gap ends at the cluster's time.
    pub(super) fn gap_ends(&mut self, time: ClusterTime, now: Now, out: &mut Actions) {
        let StreamState::Lost(gap) = &mut self.stream.state else {
            return;
        };
        if Some(time) > gap.from {
            gap.until = Some(time);
            return self.start_succeeded(out);
        }
        let failure = Failure {
            disposition: Disposition::Halt,
            cause: "mongodb_time_ran_back",
            message: format!(
                "cluster time ran back: it is {time} now, and {gap}. Was the cluster restored from a \
                 backup? Archive it into a new lake or prefix (LAKE_URL)"
            ),
        };
        self.start_failed(&failure, now, out);
    }

    pub(super) fn recorded(&mut self, result: Result<(), Failure>, now: Now, out: &mut Actions) {
        match std::mem::replace(&mut self.stream.state, StreamState::Closed) {
            StreamState::TooLarge(event) => self.large_recorded(event, result, now, out),
            StreamState::Lost(gap) => match (result, gap.until) {
                (Ok(()), Some(until)) => self.restart(gap, until, out),
                (Ok(()), None) => self.stream.state = StreamState::Lost(gap),
                (Err(failure), _) => {
                    self.stream.state = StreamState::Lost(gap);
                    self.start_failed(&failure, now, out);
                }
            },
            other => self.stream.state = other,
        }
    }

    /// The gap is recorded: the feed resumes after it.
    fn restart(&mut self, gap: Gap, until: ClusterTime, out: &mut Actions) {
        self.start_succeeded(out);
        Reporter::of_feed(out).notify(Notice::Restarted(gap));
        self.stream.has_restarted = true;
        let resume_point = std::mem::take(&mut self.start.resume_point);
        self.start.resume_point = resume_point.at(until);
        self.lanes.drop_overlaps_before(until);
        // Dropped changes that may not be in the lake are in the gap.
        self.progress.clear();
        self.progress.set_read(StreamPoint::at(until));
        self.saves.uncertain = None;
        self.saves.restarted_at = Some(until);
        // Saved before anything is read, like every starting position.
        self.saves.saved = None;
        self.stage = Stage::SavingStart;
    }
}
