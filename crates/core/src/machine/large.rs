//! A change that is too large for the server to send: it is recorded in the lake, and the feed resumes after it
//! if it is configured to.

use super::progress::StreamPoint;
use super::reporter::Reporter;
use super::stream::StreamState;
use super::{Action, Actions, Feed, Notice, Now};
use crate::failure::Failure;
use crate::gap::Record;
use crate::large_event::LargeEvent;
use crate::position::Position;

impl Feed {
    pub(super) fn too_large(&mut self, event: LargeEvent, out: &mut Actions) {
        if self.stream.is_open() && self.reload.is_none() {
            self.stream_responded(out);
            self.stream.state = StreamState::TooLarge(event);
        }
    }

    pub(super) fn advance_large(&mut self, now: Now, out: &mut Actions) {
        if let StreamState::TooLarge(event) = &self.stream.state
            && !self.draining
            && self.stream.operation.may_start(now)
        {
            let record = (event.origin.clone(), Record::TooLarge(event.clone()));
            out.push(Action::Record(vec![record]));
            self.stream.operation.start();
        }
    }

    /// The record was written, or not. Earlier changes may still wait for their commit, which holds the
    /// position back as usual.
    pub(super) fn large_recorded(
        &mut self,
        event: LargeEvent,
        result: Result<(), Failure>,
        now: Now,
        out: &mut Actions,
    ) {
        let mut reporter = Reporter::of_feed(out);
        match result {
            Ok(()) => {
                self.stream.operation.succeeded(&mut reporter);
                reporter.notify(Notice::LargeEventRecorded(event.clone()));
                self.progress.set_read(StreamPoint {
                    position: Position::After(event.token),
                    read_until: Some(event.cluster_time),
                });
                self.stream.state = StreamState::Closed;
            }
            Err(failure) => {
                self.stream.operation.failed(&failure, now, &mut reporter);
                self.stream.state = StreamState::TooLarge(event);
            }
        }
    }
}
