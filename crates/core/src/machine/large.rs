//! A change that the server can't send, being larger than BSON allows: recorded in the lake, and then the
//! feed goes on behind it, if the operator asked for that.

use super::messages::Reporter;
use super::{Action, Actions, Attempt, Feed, Notice, Now, Stream, StreamPoint};
use crate::failure::Failure;
use crate::gap::Record;
use crate::large_event::LargeEvent;
use crate::position::Position;

impl Feed {
    pub(super) fn too_large(&mut self, event: LargeEvent, out: &mut Actions) {
        if self.stream == Stream::Open && self.reload.is_none() {
            self.stream_responded(out);
            self.stream = Stream::TooLarge(event, Attempt::Ready);
        }
    }

    pub(super) fn advance_large(&mut self, now: Now, out: &mut Actions) {
        if let Stream::TooLarge(event, state) = &mut self.stream
            && !self.draining
            && state.may_start(now)
        {
            *state = Attempt::Running;
            let record = (event.origin.clone(), Record::TooLarge(event.clone()));
            out.push(Action::Record(vec![record]));
        }
    }

    /// What became of the record. What was read before may still wait for its commit: that holds the
    /// position back as ever.
    pub(super) fn large_recorded(
        &mut self,
        event: LargeEvent,
        result: Result<(), Failure>,
        now: Now,
        out: &mut Actions,
    ) {
        let (backoff, trouble) = (&mut self.stream_backoff, &mut self.troubles.stream);
        let mut reporter = Reporter::of_feed(out);
        match result {
            Ok(()) => {
                reporter.recovered(backoff, trouble);
                reporter.notify(Notice::LargeEventRecorded(event.clone()));
                self.progress.set_read(StreamPoint {
                    position: Position::After(event.token),
                    read_until: Some(event.cluster_time),
                });
                self.stream = Stream::Closed(Attempt::Ready);
            }
            Err(failure) => {
                let state = reporter.failed(&failure, backoff, trouble, now);
                self.stream = Stream::TooLarge(event, state);
            }
        }
    }
}
