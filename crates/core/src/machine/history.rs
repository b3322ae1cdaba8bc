//! History lost: the oplog no longer holds the position. The gap is recorded in the lake, and then
//! the feed goes on behind it, if the operator asked for that.

use super::lane::Overlap;
use super::messages::Reporter;
use super::progress::{OVERLAP, StreamPoint};
use super::{Action, Actions, Attempt, Feed, LaneId, Notice, Now, OnHistoryLost, Stage, Stream};
use crate::batch::FlushReason;
use crate::failure::{Disposition, Failure};
use crate::gap::{Gap, Record};
use crate::namespace::Namespace;
use crate::namespace::selection::Watched;
use crate::position::{ClusterTime, LastChange, Position};

impl Feed {
    /// The server can't go on from the position. `oldest` is where its oplog begins.
    pub(super) fn history_lost(
        &mut self,
        failure: &Failure,
        oldest: Option<ClusterTime>,
        now: Now,
        out: &mut Actions,
    ) {
        if self.config.only_namespace().is_some()
            && let Some(overlap) = self.lanes[LaneId::ONLY].overlap.take()
        {
            // The lake is further than the lost position, so nothing may be lost at all.
            self.resume_after_overlap(overlap);
            return;
        }
        let gap = self.gap(oldest);
        // Nothing more comes, so nothing is worth waiting for.
        self.lanes.seal_open(FlushReason::Halt);
        let message = format!("{}; {gap}", failure.message);
        self.stream = match self.config.on_history_lost {
            OnHistoryLost::Halt => {
                Stream::Closed(self.halt_at_gap(failure.cause, &message, now, out))
            }
            OnHistoryLost::Restart => {
                Reporter::of_feed(out).notify(Notice::HistoryLost(message));
                Stream::Lost(gap)
            }
        };
    }

    /// Goes on behind what the lake ends with.
    fn resume_after_overlap(&mut self, overlap: Overlap) {
        let last = overlap.until;
        self.progress.set_read(StreamPoint {
            position: Position::After(last.token.clone()),
            read_until: Some(last.cluster_time),
        });
        self.progress.end(OVERLAP, LaneId::ONLY);
        if let Some(number) = overlap.uncertain_since {
            self.progress.end(number, LaneId::ONLY);
        }
        self.lanes[LaneId::ONLY].last_change = Some(last);
        self.is_save_urgent = true;
        self.stream = Stream::Closed(Attempt::Ready);
    }

    fn halt_at_gap(
        &mut self,
        cause: &'static str,
        message: &str,
        now: Now,
        out: &mut Actions,
    ) -> Attempt {
        let failure = Failure {
            disposition: Disposition::Halt,
            cause,
            message: format!(
                "{message}. To go on behind the gap, with a record of it in the lake, set \
                 ON_HISTORY_LOST=restart; a larger oplog prevents it"
            ),
        };
        let (backoff, trouble) = (&mut self.stream_backoff, &mut self.troubles.stream);
        Reporter::of_feed(out).failed(&failure, backoff, trouble, now)
    }

    /// What is lost. A second loss in a row means that the oplog moves on faster than it can be opened
    /// at its beginning: then the feed is to go on from now, and so it is if the beginning isn't
    /// known to be behind all that the lake holds of one collection. Of many, the lake may hold later changes
    /// of some: they are passed over behind the gap.
    fn gap(&mut self, oldest: Option<ClusterTime>) -> Gap {
        let last_change = self.newest_change();
        let mut read = self.progress.read().position.cluster_time();
        if self.config.only_namespace().is_some() {
            read = read.max(last_change.as_ref().map(|last| last.cluster_time));
        }
        // What was passed over up to a change that didn't come may not be in the lake.
        let uncertain = self.lanes.uncertain_time();
        let from = uncertain
            .filter(|uncertain| Some(*uncertain) < read)
            .or(read);
        let until = oldest.filter(|oldest| !self.has_restarted && Some(*oldest) > from);
        Gap {
            from,
            until,
            last_change,
        }
    }

    /// The newest change that the lake has or is to have, of all collections.
    fn newest_change(&self) -> Option<LastChange> {
        let waiting = self.lanes.iter().filter_map(|lane| lane.newest_change());
        let watermarks = self
            .resume_point
            .watermarks()
            .map(|watermark| &watermark.last_change);
        let all = watermarks.chain(waiting);
        all.max_by_key(|last| last.cluster_time).cloned()
    }

    /// Whose folders a gap is recorded in: all collections that the feed knows of and that have lost something,
    /// and of a feed of many that of what happens to a whole database, since it may have lost what it doesn't
    /// know of.
    fn records(&self, gap: &Gap) -> Vec<(Namespace, Record)> {
        let Watched::Many { selection, layout } = &self.config.watched else {
            let namespace = self.config.only_namespace().cloned();
            let record = |namespace| (namespace, Record::Lost(gap.clone()));
            return namespace.into_iter().map(record).collect();
        };
        let database = selection.only_database().unwrap_or("");
        let all = Namespace::with_layout(database, "", *layout);
        let mut records = vec![(all, Record::Lost(gap.clone()))];
        for watermark in self.watermarks() {
            let namespace =
                Namespace::with_layout(&watermark.database, &watermark.collection, *layout);
            // What the lake holds behind the position isn't lost.
            let archived = Some(watermark.last_change.cluster_time);
            if gap.until <= archived {
                continue;
            }
            let gap = Gap {
                from: gap.from.max(archived),
                until: gap.until,
                last_change: Some(watermark.last_change),
            };
            records.push((namespace, Record::Lost(gap)));
        }
        records
    }

    /// Begins to bridge the gap once all that was read is in the lake, and it is known what is saved.
    pub(super) fn advance_lost(&mut self, now: Now, out: &mut Actions) {
        let nothing_waits = self.lanes.are_archived();
        let is_save_known = self.save != Attempt::Running && self.uncertain_save.is_none();
        let is_lost = matches!(self.stream, Stream::Lost(_));
        if is_lost && nothing_waits && is_save_known {
            self.stage = Stage::RecordingGap;
            self.advance_gap(now, out);
        }
    }

    pub(super) fn advance_gap(&mut self, now: Now, out: &mut Actions) {
        let Stream::Lost(gap) = &self.stream else {
            return;
        };
        if self.draining || !self.load.may_start(now) {
            return;
        }
        self.load = Attempt::Running;
        out.push(match gap.until {
            None => Action::AskClusterTime,
            Some(_) => Action::Record(self.records(gap)),
        });
    }

    /// The cluster's time is where the gap ends.
    pub(super) fn gap_ends(&mut self, time: ClusterTime, now: Now, out: &mut Actions) {
        let Stream::Lost(gap) = &mut self.stream else {
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
        match std::mem::replace(&mut self.stream, Stream::Closed(Attempt::Ready)) {
            Stream::TooLarge(event, _) => self.large_recorded(event, result, now, out),
            Stream::Lost(gap) => match (result, gap.until) {
                (Ok(()), Some(until)) => self.restart(gap, until, out),
                (Ok(()), None) => self.stream = Stream::Lost(gap),
                (Err(failure), _) => {
                    self.stream = Stream::Lost(gap);
                    self.start_failed(&failure, now, out);
                }
            },
            other => self.stream = other,
        }
    }

    /// The gap is on record: the feed goes on behind it.
    fn restart(&mut self, gap: Gap, until: ClusterTime, out: &mut Actions) {
        self.start_succeeded(out);
        Reporter::of_feed(out).notify(Notice::Restarted(gap));
        self.has_restarted = true;
        self.resume_point = std::mem::take(&mut self.resume_point).at(until);
        self.lanes.drop_overlaps_before(until);
        // What was passed over and isn't sure to be in the lake lies in the gap.
        self.progress.clear();
        self.progress.set_read(StreamPoint::at(until));
        self.uncertain_save = None;
        self.restarted_at = Some(until);
        // Saved before anything is read, as every starting position.
        self.saved = None;
        self.stage = Stage::SavingStart;
    }
}
