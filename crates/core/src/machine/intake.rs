//! The stream: opened, read into the lanes, reopened.

use super::lane::{Placement, Refusal};
use super::messages::Reporter;
use super::progress::{OVERLAP, StreamPoint};
use super::{Action, Actions, Attempt, Feed, LaneId, Notice, Now, Reload, Stream};
use crate::batch::{Change, Changes, FlushReason};
use crate::failure::{Disposition, Failure};
use crate::position::{Position, ResumeToken};

/// Where the stream stands before an event, computed when it is needed.
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
    pub(super) fn advance_stream(&mut self, now: Now, out: &mut Actions) {
        let Stream::Closed(state) = self.stream else {
            return;
        };
        if !self.draining && state.may_start(now) {
            self.stream = Stream::Closed(Attempt::Running);
            out.push(Action::Open(self.progress.read().position.clone()));
        }
    }

    pub(super) fn opened(&mut self, result: Result<(), Failure>, now: Now, out: &mut Actions) {
        if self.stream != Stream::Closed(Attempt::Running) {
            return;
        }
        match result {
            Ok(()) => {
                self.stream = Stream::Open;
                let position = self.progress.read().position.clone();
                Reporter::of_feed(out).notify(Notice::Watching(position));
            }
            Err(failure) => self.stream_failed(&failure, now, out),
        }
    }

    /// After an invalidate the server closes the stream, and it is opened anew right behind it.
    pub(super) fn closed(&mut self, failure: Option<Failure>, now: Now, out: &mut Actions) {
        if !matches!(self.stream, Stream::Open | Stream::Closed(Attempt::Running)) {
            return;
        }
        match failure {
            None => self.stream = Stream::Closed(Attempt::Ready),
            Some(failure) => self.stream_failed(&failure, now, out),
        }
    }

    /// Only an answer counts: some errors come with the first read of a stream that opened well.
    pub(super) fn stream_responded(&mut self, out: &mut Actions) {
        self.has_restarted = false;
        Reporter::of_feed(out).recovered(&mut self.stream_backoff, &mut self.troubles.stream);
    }

    pub(super) fn stream_failed(&mut self, failure: &Failure, now: Now, out: &mut Actions) {
        if let Some(changes) = self.waiting.take() {
            self.note_changes_dropped(&changes);
        }
        if let Disposition::HistoryLost { oldest } = failure.disposition {
            return self.history_lost(failure, oldest, now, out);
        }
        if failure.disposition == Disposition::Reload {
            self.request_reload(failure, out);
        }
        let (backoff, trouble) = (&mut self.stream_backoff, &mut self.troubles.stream);
        let state = Reporter::of_feed(out).failed(failure, backoff, trouble, now);
        self.stream = Stream::Closed(state);
        if failure.disposition == Disposition::Halt {
            // Nothing more comes, so nothing is worth waiting for.
            self.lanes.seal_open(FlushReason::Halt);
        }
    }

    pub(super) fn request_reload(&mut self, failure: &Failure, out: &mut Actions) {
        self.reload = Some(Reload::Stale);
        Reporter::of_feed(out).notify(Notice::Reloading(failure.message.clone()));
    }

    pub(super) fn changes(&mut self, changes: Changes, now: Now, out: &mut Actions) {
        if self.stream == Stream::Open && self.reload.is_none() {
            self.waiting = Some(changes);
            self.take_waiting(now, out);
        } else {
            self.note_changes_dropped(&changes);
        }
    }

    /// Takes the changes that came, if it is known of each of their collections where the lake ends.
    pub(super) fn take_waiting(&mut self, now: Now, out: &mut Actions) {
        let Some(changes) = self.waiting.take() else {
            return;
        };
        let lanes = if self.config.only_namespace().is_some() {
            vec![LaneId::ONLY]
        } else {
            let namespaces = changes.namespaces().iter();
            let lanes = namespaces.map(|namespace| self.lanes.of(namespace, &self.config));
            lanes.collect()
        };
        if !lanes.iter().all(|lane| self.lanes[*lane].is_known()) {
            self.waiting = Some(changes);
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
            // A lane of its own each, so that there is always one.
            let Some(lane) = lanes.get(change.namespace) else {
                continue;
            };
            // An event that belongs to two collections comes once for each, and no position is between the two.
            let is_same_event =
                lanes.len() > 1 && last.is_some_and(|last| last.token == change.token);
            if !is_same_event {
                before.previous = last;
                number = self.progress.count();
            }
            if let Err(refusal) = self.take(*lane, &change, number, &before, now, out) {
                let point = before.point();
                self.progress.set_read(point);
                return Err(match refusal {
                    // The first lane has taken the event already, so nothing that was taken can stay.
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
        let taken = lane.take(change, number, &self.config.limits, now, reporter)?;
        if let Some(uncertain_since) = overlap_before
            && lane.overlap.is_none()
        {
            self.progress.end(OVERLAP, id);
            if let Some(number) = uncertain_since {
                self.progress.end(number, id);
            }
            self.is_save_urgent = true;
        }
        if matches!(taken, Placement::OpensBatch | Placement::MaybeInOverlap) {
            self.progress.begin(number, id, before.point());
        }
        if taken != Placement::JoinsBatch {
            self.lanes.settle(id);
        }
        Ok(())
    }

    fn refused(&mut self, refusal: Refusal, now: Now, out: &mut Actions) {
        match refusal {
            Refusal::TailMissing(failure) => {
                // The lake or the checkpoint may be put right: from there it begins anew.
                self.stream = Stream::Closed(Attempt::Ready);
                self.reload = Some(Reload::Halted(failure));
            }
            Refusal::TimeWentBack(failure) => self.stream_failed(&failure, now, out),
        }
    }

    pub(super) fn idle(&mut self, token: ResumeToken, out: &mut Actions) {
        if self.stream == Stream::Open && self.reload.is_none() {
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
