//! From the stream into the lanes.

use super::lane::{Placement, Refusal};
use super::progress::StreamPoint;
use super::reporter::Reporter;
use super::{Action, Actions, Feed, LaneId, Now, Reload};
use crate::batch::{Change, Changes, FlushReason};
use crate::position::{Position, ResumeToken};

/// The position before an event, computed when it is needed.
struct Before<'a> {
    read: &'a StreamPoint,
    previous: Option<Change<'a>>,
}

impl Before<'_> {
    fn point(&self) -> StreamPoint {
        match &self.previous {
            None => self.read.clone(),
            Some(previous) => StreamPoint::after(previous),
        }
    }
}

impl Feed {
    pub(super) fn changes(&mut self, changes: Changes, now: Now, out: &mut Actions) {
        if self.stream.is_open() && self.reload.is_none() {
            self.stream.waiting = Some(changes);
            self.take_waiting(now, out);
        } else {
            self.note_changes_dropped(&changes);
        }
    }

    /// Takes the changes that wait, once the tail of each of their collections is known.
    pub(super) fn take_waiting(&mut self, now: Now, out: &mut Actions) {
        let Some(changes) = self.stream.waiting.take() else {
            return;
        };
        let namespaces = changes.namespaces().iter();
        let lanes: Vec<_> = namespaces
            .map(|namespace| self.lanes.of(namespace, &self.config))
            .collect();
        if !lanes.iter().all(|lane| self.lanes[*lane].is_tail_known()) {
            self.stream.waiting = Some(changes);
            return;
        }
        match self.take_all(&changes, &lanes, now, out) {
            Ok(()) => {
                self.note_read_again(&changes);
                if self.draining {
                    self.lanes.seal_open(FlushReason::Drain);
                }
                self.stream_responded(out);
            }
            Err(refusal) => {
                self.note_changes_dropped(&changes);
                out.push(Action::Close);
                self.refused(refusal, now, out);
            }
        }
    }

    fn take_all(
        &mut self,
        changes: &Changes,
        lanes: &[LaneId],
        now: Now,
        out: &mut Actions,
    ) -> Result<(), Refusal> {
        let read = self.progress.read().clone();
        let mut before = Before {
            read: &read,
            previous: None,
        };
        let mut number = 0;
        let mut last: Option<Change<'_>> = None;
        for change in changes.iter() {
            // An event that belongs to two collections comes once for each, and no position is between the two.
            let is_same_event =
                lanes.len() > 1 && last.is_some_and(|last| last.token == change.token);
            if !is_same_event {
                before.previous = last;
                number = self.progress.count();
            }
            let lane = lanes[change.namespace];
            if let Err(refusal) = self.take(lane, &change, number, &before, now, out) {
                let point = before.point();
                self.progress.set_read(point);
                return Err(match refusal {
                    // The first lane has already taken the event, so nothing that was taken can stay.
                    Refusal::TimeWentBack(failure) if is_same_event => {
                        Refusal::TailMissing(failure)
                    }
                    refusal => refusal,
                });
            }
            last = Some(change);
        }
        before.previous = last;
        let point = before.point();
        self.progress.set_read(point);
        Ok(())
    }

    fn take(
        &mut self,
        id: LaneId,
        change: &Change<'_>,
        number: u64,
        before: &Before<'_>,
        now: Now,
        out: &mut Actions,
    ) -> Result<(), Refusal> {
        let lane = &mut self.lanes[id];
        let overlap_before = lane.overlap.as_ref().map(|overlap| overlap.uncertain_since);
        let reporter = &mut Reporter::of_lane(out, id);
        let placement = lane.take(change, number, &self.config.limits, now, reporter)?;
        if let Some(uncertain_since) = overlap_before
            && lane.overlap.is_none()
        {
            if let Some(number) = uncertain_since {
                self.progress.end(number, id);
            }
            self.saves.is_urgent = true;
        }
        if matches!(placement, Placement::OpensBatch | Placement::MaybeInOverlap) {
            self.progress.begin(number, id, before.point());
        }
        if placement != Placement::JoinsBatch {
            self.lanes.settle(id);
        }
        Ok(())
    }

    fn refused(&mut self, refusal: Refusal, now: Now, out: &mut Actions) {
        match refusal {
            // A rival may have closed the hour after this feed read the checkpoint, which is newer now.
            Refusal::HourClosed(failure)
                if self.reload_backoff.failures() < self.config.limits.retry_attempts =>
            {
                self.stream.close();
                self.request_reload(&failure, out);
            }
            Refusal::TailMissing(failure) | Refusal::HourClosed(failure) => {
                // The start will find out when the lake or the checkpoint has been repaired.
                self.stream.close();
                self.reload = Some(Reload::Halted(failure));
            }
            Refusal::TimeWentBack(failure) => self.stream_failed(&failure, now, out),
        }
    }

    pub(super) fn idle(&mut self, token: ResumeToken, out: &mut Actions) {
        if self.stream.is_open() && self.reload.is_none() {
            self.stream_responded(out);
            self.note_looked_again(token.as_extended_json(), token.cluster_time());
            let read_until = self.progress.read().read_until;
            self.progress.set_read(StreamPoint {
                position: Position::After(token),
                read_until,
            });
        }
    }
}
