//! History lost: the oplog no longer holds the position. The gap is recorded in the lake, and then
//! the feed goes on behind it, if the operator asked for that.

use super::super::batch::FlushReason;
use super::super::failure::{Disposition, Failure};
use super::super::gap::Gap;
use super::super::position::{ClusterTime, Position};
use super::{Action, Actions, Feed, Notice, Now, OnHistoryLost, Stage, Stream, Try};

impl Feed {
    /// The server can't go on from the position. `oldest` is where its oplog begins.
    pub(super) fn history_lost(
        &mut self,
        failure: &Failure,
        oldest: Option<ClusterTime>,
        now: Now,
        out: &mut Actions,
    ) {
        if let Some(tail) = self.skip_until.take() {
            // The lake is further than the lost position, so nothing may be lost at all.
            self.read_position = Position::After(tail.token.clone());
            self.safe.position = self.read_position.clone();
            self.safe.last_change = Some(tail);
            self.stream = Stream::Closed(Try::Ready);
            return;
        }
        let gap = self.gap(oldest);
        // Nothing more comes, so nothing is worth waiting for.
        self.seal_open(FlushReason::Halt);
        let message = format!("{}; {gap}", failure.message);
        self.stream = match self.config.on_history_lost {
            OnHistoryLost::Halt => {
                Stream::Closed(self.halt_at_gap(failure.cause, &message, now, out))
            }
            OnHistoryLost::Restart => {
                out.push(Action::Tell(Notice::HistoryLost(message)));
                Stream::Lost(gap)
            }
        };
    }

    fn halt_at_gap(
        &mut self,
        cause: &'static str,
        message: &str,
        now: Now,
        out: &mut Actions,
    ) -> Try {
        let failure = Failure {
            disposition: Disposition::Halt,
            cause,
            message: format!(
                "{message}. To go on behind the gap, with a record of it in the lake, set \
                 ON_HISTORY_LOST=restart; a larger oplog prevents it"
            ),
        };
        let trouble = &mut self.troubles.stream;
        Self::fail(&failure, &mut self.stream_backoff, trouble, now, out)
    }

    /// What is lost. A second loss in a row means that the oplog moves on faster than it can be opened
    /// at its beginning: then the feed is to go on from now, and so it is if the beginning isn't
    /// known to be behind all that the lake holds.
    fn gap(&mut self, oldest: Option<ClusterTime>) -> Gap {
        let last_change = self.newest_change();
        let archived = last_change.as_ref().map(|last| last.cluster_time);
        let from = self.read_position.cluster_time().max(archived);
        let until = oldest.filter(|oldest| !self.has_restarted && Some(*oldest) > from);
        Gap {
            from,
            until,
            last_change,
        }
    }

    /// Begins to bridge the gap once all that was read is in the lake, and it is known what is saved.
    pub(super) fn advance_lost(&mut self, now: Now, out: &mut Actions) {
        let nothing_waits = self.queue.is_empty() && self.commit.is_idle();
        let is_save_known = self.save != Try::Running && self.unsure_save.is_none();
        let is_lost = matches!(self.stream, Stream::Lost(_));
        if is_lost && nothing_waits && is_save_known {
            self.stage = Stage::Bridging;
            self.advance_bridge(now, out);
        }
    }

    pub(super) fn advance_bridge(&mut self, now: Now, out: &mut Actions) {
        let Stream::Lost(gap) = &self.stream else {
            return;
        };
        if self.draining || !self.load.may_start(now) {
            return;
        }
        self.load = Try::Running;
        out.push(match gap.until {
            None => Action::AskClusterTime,
            Some(_) => Action::Record(gap.clone()),
        });
    }

    /// The cluster's time is where the gap ends.
    pub(super) fn gap_ends(&mut self, time: ClusterTime, now: Now, out: &mut Actions) {
        let Stream::Lost(gap) = &mut self.stream else {
            return;
        };
        if Some(time) > gap.from {
            gap.until = Some(time);
            return self.start_worked(out);
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
        let Stream::Lost(gap) = &self.stream else {
            return;
        };
        let (gap, until) = match (result, gap.until) {
            (Ok(()), Some(until)) => (gap.clone(), until),
            (Ok(()), None) => return,
            (Err(failure), _) => return self.start_failed(&failure, now, out),
        };
        self.start_worked(out);
        out.push(Action::Tell(Notice::Restarted(gap)));
        self.has_restarted = true;
        self.stream = Stream::Closed(Try::Ready);
        // Saved before anything is read, as every starting position.
        self.saved = None;
        self.take_position(Position::At(until), self.safe.last_change.clone());
        self.safe.restarted_at = Some(until);
        self.stage = Stage::Anchoring;
    }
}
