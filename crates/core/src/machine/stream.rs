//! The change stream: opened, closed, opened again.

use super::attempt::Operation;
use super::reporter::Reporter;
use super::{Action, Actions, Feed, Notice, Now, Reload};
use crate::batch::{Changes, FlushReason};
use crate::failure::{Disposition, Failure};
use crate::gap::Gap;
use crate::large_event::LargeEvent;

/// What a feed is doing with its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StreamState {
    /// It is closed, or is being opened.
    Closed,
    /// It is read.
    Open,
    /// The position is no longer in the oplog, and the feed is to resume after the gap.
    Lost(Gap),
    /// The server can't send the next change. The feed is to record it and resume after it.
    TooLarge(LargeEvent),
}

/// The stream as the feed knows it.
#[derive(Debug)]
pub(super) struct Stream {
    pub state: StreamState,
    /// Opens the stream, or records the change that is too large.
    pub operation: Operation,
    /// Changes that wait until the tails of all their collections are known.
    pub waiting: Option<Changes>,
    /// The feed resumed after a gap, and nothing has been read since.
    pub has_restarted: bool,
}

impl Stream {
    pub fn new(operation: Operation) -> Self {
        Self {
            state: StreamState::Closed,
            operation,
            waiting: None,
            has_restarted: false,
        }
    }

    pub fn is_open(&self) -> bool {
        self.state == StreamState::Open
    }

    pub fn is_opening(&self) -> bool {
        self.state == StreamState::Closed && self.operation.is_running()
    }

    /// Whether a change that is too large is being recorded.
    pub fn is_recording(&self) -> bool {
        matches!(self.state, StreamState::TooLarge(_)) && self.operation.is_running()
    }

    /// Whether it is closed and may be opened at once.
    pub fn is_at_rest(&self) -> bool {
        self.state == StreamState::Closed && self.operation.is_ready()
    }

    pub fn close(&mut self) {
        self.state = StreamState::Closed;
        self.operation.finish();
    }

    /// Closes it and discards all that it returned.
    pub fn clear(&mut self) {
        self.state = StreamState::Closed;
        self.operation.discard();
        self.waiting = None;
        self.has_restarted = false;
    }

    /// It is closed until the next attempt.
    pub fn failed(&mut self, failure: &Failure, now: Now, out: &mut Actions) {
        self.state = StreamState::Closed;
        let mut reporter = Reporter::of_feed(out);
        self.operation.failed(failure, now, &mut reporter);
    }
}

impl Feed {
    pub(super) fn advance_stream(&mut self, now: Now, out: &mut Actions) {
        let is_closed = self.stream.state == StreamState::Closed;
        if is_closed && !self.draining && self.stream.operation.may_start(now) {
            self.stream.operation.start();
            out.push(Action::Open(self.progress.read().position.clone()));
        }
    }

    pub(super) fn opened(&mut self, result: Result<(), Failure>, now: Now, out: &mut Actions) {
        if !self.stream.is_opening() {
            return;
        }
        match result {
            Ok(()) => {
                self.stream.state = StreamState::Open;
                self.stream.operation.finish();
                let position = self.progress.read().position.clone();
                Reporter::of_feed(out).notify(Notice::Watching(position));
            }
            Err(failure) => self.stream_failed(&failure, now, out),
        }
    }

    /// After an invalidate the server closes the stream, and it is opened again right after that.
    pub(super) fn closed(&mut self, failure: Option<Failure>, now: Now, out: &mut Actions) {
        if !self.stream.is_open() && !self.stream.is_opening() {
            return;
        }
        match failure {
            None => self.stream.close(),
            Some(failure) => self.stream_failed(&failure, now, out),
        }
    }

    /// Only a response counts: some errors come with the first read of a stream that was opened successfully.
    pub(super) fn stream_responded(&mut self, out: &mut Actions) {
        self.stream.has_restarted = false;
        let mut reporter = Reporter::of_feed(out);
        self.stream.operation.succeeded(&mut reporter);
    }

    pub(super) fn stream_failed(&mut self, failure: &Failure, now: Now, out: &mut Actions) {
        if let Some(changes) = self.stream.waiting.take() {
            self.note_changes_dropped(&changes);
        }
        if let Disposition::HistoryLost { oldest } = failure.disposition {
            return self.history_lost(failure, oldest, now, out);
        }
        if failure.disposition == Disposition::Reload {
            self.request_reload(failure, out);
        }
        self.stream.failed(failure, now, out);
        if failure.disposition == Disposition::Halt {
            // No more changes will come, so there is nothing to wait for.
            self.lanes.seal_open(FlushReason::Halt);
        }
    }

    pub(super) fn request_reload(&mut self, failure: &Failure, out: &mut Actions) {
        self.reload = Some(Reload::Stale);
        Reporter::of_feed(out).notify(Notice::Reloading(failure.message.clone()));
    }
}
