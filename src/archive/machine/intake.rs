//! The stream: opened, read into batches, reopened.

use super::super::batch::{Batch, Change, Changes, FlushReason};
use super::super::failure::{Disposition, Failure};
use super::super::hour_file::Hour;
use super::super::position::{LastChange, Position, ResumeToken};
use super::start::lake_behind;
use super::{Action, Actions, Feed, Notice, Now, Stage, Stream, Try};

impl Feed {
    pub(super) fn advance_stream(&mut self, now: Now, out: &mut Actions) {
        let Stream::Closed(state) = self.stream else {
            return;
        };
        if !self.draining && state.may_start(now) {
            self.stream = Stream::Closed(Try::Running);
            out.push(Action::Open(self.read_position.clone()));
        }
    }

    pub(super) fn opened(&mut self, result: Result<(), Failure>, now: Now, out: &mut Actions) {
        if self.stream != Stream::Closed(Try::Running) {
            return;
        }
        match result {
            Ok(()) => {
                self.stream = Stream::Open;
                out.push(Action::Tell(Notice::Watching(self.read_position.clone())));
            }
            Err(failure) => self.stream_failed(&failure, now, out),
        }
    }

    /// After an invalidate the server closes the stream, and it is opened anew right behind it.
    pub(super) fn closed(&mut self, failure: Option<Failure>, now: Now, out: &mut Actions) {
        if !matches!(self.stream, Stream::Open | Stream::Closed(Try::Running)) {
            return;
        }
        match failure {
            None => self.stream = Stream::Closed(Try::Ready),
            Some(failure) => self.stream_failed(&failure, now, out),
        }
    }

    /// Only an answer counts: some errors come with the first read of a stream that opened well.
    fn stream_worked(&mut self, out: &mut Actions) {
        self.has_restarted = false;
        Self::mend(&mut self.stream_backoff, &mut self.troubles.stream, out);
    }

    fn stream_failed(&mut self, failure: &Failure, now: Now, out: &mut Actions) {
        if let Disposition::HistoryLost { oldest } = failure.disposition {
            return self.history_lost(failure, oldest, now, out);
        }
        if failure.disposition == Disposition::Reload {
            self.request_reload(failure, out);
        }
        let trouble = &mut self.troubles.stream;
        let state = Self::fail(failure, &mut self.stream_backoff, trouble, now, out);
        self.stream = Stream::Closed(state);
        if self.stage == Stage::Loading {
            self.load = state;
        }
        if failure.disposition == Disposition::Halt {
            // Nothing more comes, so nothing is worth waiting for.
            self.seal_open(FlushReason::Halt);
        }
    }

    pub(super) fn request_reload(&mut self, failure: &Failure, out: &mut Actions) {
        self.reload = true;
        out.push(Action::Tell(Notice::Reloading(failure.message.clone())));
    }

    pub(super) fn changes(&mut self, changes: &Changes, now: Now, out: &mut Actions) {
        if self.stream != Stream::Open || self.reload {
            return;
        }
        let mut last_read = None;
        let mut outcome = Ok(());
        for change in changes.iter() {
            outcome = self.change(&change, now, out);
            if outcome.is_err() {
                break;
            }
            last_read = Some(change.token);
        }
        if let Some(token) = last_read {
            self.read_position = Position::After(ResumeToken::from_canonical(token));
        }
        match outcome {
            Ok(()) => self.stream_worked(out),
            Err(failure) => {
                out.push(Action::Close);
                self.stream_failed(&failure, now, out);
            }
        }
    }

    fn change(&mut self, change: &Change<'_>, now: Now, out: &mut Actions) -> Result<(), Failure> {
        if let Some(tail) = self.skip_until.take() {
            return self.skip(tail, change, out);
        }
        self.refuse_time_run_back(change)?;
        self.buffer(change, now);
        Ok(())
    }

    /// Drops a change that the lake already holds.
    fn skip(
        &mut self,
        tail: LastChange,
        change: &Change<'_>,
        out: &mut Actions,
    ) -> Result<(), Failure> {
        if tail.token.as_extended_json() == change.token {
            let skipped = std::mem::take(&mut self.skipped_changes) + 1;
            out.push(Action::Tell(Notice::CaughtUp { skipped }));
            self.safe.position = Position::After(tail.token.clone());
            self.safe.last_change = Some(tail);
            return Ok(());
        }
        if change.cluster_time > tail.cluster_time {
            // The tail isn't in the stream behind the checkpoint. Nothing is buffered while changes
            // are skipped, so the feed can go back to loading until somebody has put it right.
            self.stage = Stage::Loading;
            let name = self
                .file
                .as_ref()
                .map_or_else(String::new, |file| file.name.to_string());
            return Err(lake_behind(&tail, change.cluster_time, &name));
        }
        self.skipped_changes += 1;
        self.skip_until = Some(tail);
        Ok(())
    }

    fn refuse_time_run_back(&self, change: &Change<'_>) -> Result<(), Failure> {
        let newest = self.newest_hour();
        if newest.is_none_or(|newest| Hour::of(change.cluster_time) >= newest) {
            return Ok(());
        }
        Err(Failure {
            disposition: Disposition::Halt,
            cause: "mongodb_time_ran_back",
            message: format!(
                "cluster time ran back: a change of {} came behind the hour {}. Was the cluster \
                 restored from a backup? Archive it into a new lake or prefix (LAKE_URL)",
                change.cluster_time,
                newest.map_or_else(String::new, |hour| hour.to_string()),
            ),
        })
    }

    /// The newest change that the lake has or is to have.
    pub(super) fn newest_change(&self) -> Option<LastChange> {
        let waiting = self.queue.back().or(self.commit.batch());
        waiting
            .map(|batch| batch.last.clone())
            .or_else(|| self.safe.last_change.clone())
    }

    fn newest_hour(&self) -> Option<Hour> {
        let buffered = self
            .queue
            .back()
            .map(|batch| batch.hour)
            .or(self.commit.hour());
        buffered.or(self.file.as_ref().map(|file| file.name.hour))
    }

    fn buffer(&mut self, change: &Change<'_>, now: Now) {
        let hour = Hour::of(change.cluster_time);
        let seal_bytes = self.config.limits.batch_seal_bytes();
        let room_bytes = seal_bytes.saturating_sub(change.line.len() as u64);
        if let Some(open) = self.queue.back_mut() {
            if open.hour != hour {
                open.sealed.get_or_insert(FlushReason::Hour);
            } else if open.len_bytes() > room_bytes {
                open.sealed.get_or_insert(FlushReason::Bytes);
            }
        }
        match self.queue.back_mut() {
            Some(open) if open.sealed.is_none() => open.add(change),
            _ => self.queue.push_back(Batch::begin(change, now.monotonic_ms)),
        }
        if let Some(open) = self.queue.back_mut()
            && open.len_bytes() >= seal_bytes
        {
            open.sealed = Some(FlushReason::Bytes);
        }
    }

    pub(super) fn idle(&mut self, token: ResumeToken, out: &mut Actions) {
        if self.stream != Stream::Open || self.reload {
            return;
        }
        self.stream_worked(out);
        self.read_position = Position::After(token);
        self.note_idle_position();
    }

    /// With nothing open or in flight, all that was read is safe.
    pub(super) fn note_idle_position(&mut self) {
        if self.is_all_archived() {
            self.safe.position = self.read_position.clone();
        }
    }

    /// Seals the open batch, if there is one.
    pub(super) fn seal_open(&mut self, reason: FlushReason) {
        if let Some(open) = self.queue.back_mut() {
            open.sealed.get_or_insert(reason);
        }
    }
}
