//! The state machine of one feed.
//!
//! [`Feed::handle`] takes what happened and the time, and returns what to do. It has four parts that proceed
//! independently: the start, the stream, the commits and the saves. An input only changes the state of its
//! part; [`Feed::advance`] then asks each part in turn what can be done now. So each rule stands in one place,
//! and no order of events is special.
//!
//! A feed carries one collection or many. Each has a [`lane::Lane`]: its batches, its commits, its tail. The
//! stream and its position belong to the feed: [`progress::Progress`] knows which position may be saved while
//! the lanes' commits end in any order.

mod attempt;
mod commits;
mod config;
mod dropped;
mod history;
mod intake;
mod lane;
mod lanes;
mod large;
mod messages;
mod progress;
mod reporter;
mod resume_point;
mod saves;
mod start;
mod stream;
mod view;

pub use config::{Config, OnHistoryLost, OnLargeEvent, StartAt};
pub use lanes::LaneId;
pub use messages::{Action, Input, Notice, Now, StartState, Tail, Trouble, WriteOrder};
pub use view::{Activity, Archived};

use crate::backoff::Backoff;
use crate::batch::FlushReason;
use crate::failure::{Disposition, Failure};
use crate::position::ClusterTime;
use attempt::Operation;
use commits::CommitEnd;
use dropped::Dropped;
use lane::Lane;
use lanes::Lanes;
use progress::{Progress, StreamPoint};
use reporter::Reporter;
use saves::Saves;
use start::Start;
use stream::Stream;

/// The phases of a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The checkpoint and the tail are being read.
    Loading,
    /// The cluster is asked for its time, which the start depends on.
    AskingTime,
    /// The starting position is being saved. Nothing is read before that is done.
    SavingStart,
    /// The position is no longer in the oplog, and the gap is being recorded. Nothing is read before that is
    /// done.
    RecordingGap,
    /// The stream is read.
    Running,
    /// All is done.
    Finished,
}

/// Why a feed starts again.
#[derive(Debug)]
enum Reload {
    /// Its view was stale.
    Stale,
    /// The lake or the checkpoint must be repaired.
    Halted(Failure),
}

/// The state of one feed.
#[derive(Debug)]
pub struct Feed {
    config: Config,
    stage: Stage,
    draining: bool,
    /// As soon as no operation is in progress, the feed starts again from [`Stage::Loading`].
    reload: Option<Reload>,
    /// Two writers that fence each other off must not do so as fast as they can.
    reload_backoff: Backoff,
    start: Start,
    stream: Stream,
    progress: Progress,
    lanes: Lanes,
    /// Changes that were read and dropped, until they are read again.
    dropped: Option<Dropped>,
    saves: Saves,
    archived: Archived,
    last_change_time: Option<ClusterTime>,
}

/// What one call of [`Feed::handle`] collects.
type Actions = Vec<Action>;

impl Feed {
    /// A feed that has done nothing yet. Its first action comes with the first input.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let limits = &config.limits;
        let seed = |salt| config.seed.wrapping_add(salt);
        let nowhere = StreamPoint::at(ClusterTime {
            seconds: 0,
            increment: 0,
        });
        Self {
            stage: Stage::Loading,
            draining: false,
            reload: None,
            reload_backoff: Backoff::new(limits.retry_delay_ms, seed(5)),
            start: Start::new(Operation::new(limits, seed(1))),
            stream: Stream::new(Operation::new(limits, seed(2))),
            progress: Progress::from(nowhere),
            lanes: Lanes::default(),
            dropped: None,
            saves: Saves::new(Operation::new(limits, seed(4))),
            archived: Archived::default(),
            last_change_time: None,
            config,
        }
    }

    /// Takes one input and returns the actions that follow from it.
    pub fn handle(&mut self, input: Input, now: Now) -> Vec<Action> {
        let mut out = Actions::new();
        if self.stage == Stage::Finished {
            return out;
        }
        match input {
            Input::Start | Input::Tick => {}
            Input::Loaded(result) => self.loaded(result.map(|state| *state), now, &mut out),
            Input::TailLoaded(lane, result) => self.tail_loaded(lane, result, now, &mut out),
            Input::ClusterTime(result) => self.cluster_time(result, now, &mut out),
            Input::Opened(result) => self.opened(result, now, &mut out),
            Input::Changes(changes) => self.changes(changes, now, &mut out),
            Input::Idle(token) => self.idle(token, &mut out),
            Input::Closed(failure) => self.closed(failure, now, &mut out),
            Input::TooLarge(event) => self.too_large(event, &mut out),
            Input::Flush(reason) => {
                self.lanes.seal_open(reason);
                if reason.is_manual() {
                    self.hurry();
                }
            }
            Input::Committed(lane, result) => {
                let reporter = &mut Reporter::of_lane(&mut out, lane);
                let end = self.lanes[lane].committed(result, &self.config, now, reporter);
                self.commit_ended(lane, end, &mut out);
            }
            Input::Inspected(lane, result) => {
                let reporter = &mut Reporter::of_lane(&mut out, lane);
                let end = self.lanes[lane].inspected(result, &self.config, now, reporter);
                self.commit_ended(lane, end, &mut out);
            }
            Input::Saved(result) => self.saved(result, now, &mut out),
            Input::Recorded(result) => self.recorded(result, now, &mut out),
            Input::Drain => self.drain(&mut out),
        }
        self.advance(now, &mut out);
        out
    }

    fn commit_ended(&mut self, lane: LaneId, end: CommitEnd, out: &mut Actions) {
        match end {
            CommitEnd::Open => {}
            CommitEnd::Stale(failure) => self.request_reload(&failure, out),
            CommitEnd::Done(batch) => {
                self.reload_backoff.succeeded();
                self.progress.end(batch.numbers.0, lane);
                self.saves.is_urgent = true;
                let time = Some(batch.last.cluster_time);
                self.last_change_time = self.last_change_time.max(time);
                self.archived.note(&batch);
            }
        }
    }

    /// Starts what can be started now.
    fn advance(&mut self, now: Now, out: &mut Actions) {
        if self.reload.is_some() && !self.advance_reload(now, out) {
            return;
        }
        match self.stage {
            Stage::Loading | Stage::AskingTime => self.advance_start(now, out),
            Stage::SavingStart => self.advance_save(now, out),
            Stage::RecordingGap => self.advance_gap(now, out),
            Stage::Running => {
                self.advance_stream(now, out);
                self.advance_large(now, out);
                self.advance_lanes(now, out);
                self.advance_save(now, out);
                self.advance_lost(now, out);
            }
            Stage::Finished => {}
        }
        if self.draining && self.is_drained() {
            self.stage = Stage::Finished;
            out.push(Action::Finish);
        }
    }

    fn advance_lanes(&mut self, now: Now, out: &mut Actions) {
        self.seal_what_holds_back();
        for id in self.lanes.busy_ids() {
            let reporter = &mut Reporter::of_lane(out, id);
            let lane = &mut self.lanes[id];
            if !self.draining || self.stream.waiting.is_some() {
                lane.advance_tail(now, reporter);
            }
            lane.advance_commit(&self.config, now, reporter);
            self.lanes.settle(id);
        }
    }

    /// A collection with few changes must not hold the position back for long: everything that was read since
    /// is read again after a crash.
    fn seal_what_holds_back(&mut self) {
        if let Some((lane, changes_since)) = self.progress.oldest()
            && changes_since > self.config.limits.hold_limit_changes
        {
            self.lanes[lane].seal_open(FlushReason::Position);
        }
    }

    /// Starts again from the checkpoint and the tail once no operation is in progress. Returns whether it did.
    fn advance_reload(&mut self, now: Now, out: &mut Actions) -> bool {
        let is_busy = |lane: &Lane| lane.commit.is_running() || lane.is_loading_tail();
        let is_waiting = self.saves.operation.is_running() || self.stream.is_recording();
        if is_waiting || self.lanes.busy().any(is_busy) {
            return false;
        }
        if !self.stream.is_at_rest() {
            out.push(Action::Close);
        }
        self.note_all_dropped();
        self.stage = Stage::Loading;
        self.stream.clear();
        self.progress.clear();
        self.lanes.clear();
        // Troubles are discarded; what still fails will be reported again.
        self.start.operation.discard();
        self.saves.clear();
        if let Some(Reload::Halted(failure)) = self.reload.take() {
            self.start_failed(&failure, now, out);
        } else {
            let delay_ms = self.reload_backoff.failed(Disposition::RETRY);
            self.start.operation.wait_until(now.monotonic_ms + delay_ms);
        }
        true
    }

    fn drain(&mut self, out: &mut Actions) {
        if self.draining {
            return;
        }
        self.draining = true;
        if self.stage == Stage::Running && !self.stream.is_recording() {
            out.push(Action::Close);
            self.stream.close();
        }
        // Changes that wait for a tail are still taken: they were read.
        self.lanes.seal_open(FlushReason::Drain);
        // There may be no later.
        self.hurry();
    }

    /// Retries at once whatever waits for its next attempt: an operator has fixed something, or it is the end.
    fn hurry(&mut self) {
        self.lanes.hurry();
        self.start.operation.hurry();
        self.saves.operation.hurry();
        self.stream.operation.hurry();
    }

    /// Whether a draining feed has nothing left that could be done.
    fn is_drained(&self) -> bool {
        let is_saving = self.saves.operation.is_running();
        match self.stage {
            Stage::Loading | Stage::AskingTime | Stage::RecordingGap => {
                !self.start.operation.is_running() && !is_saving
            }
            Stage::SavingStart => !is_saving,
            Stage::Running => {
                self.lanes.are_archived()
                    && self.stream.waiting.is_none()
                    && !self.lanes.busy().any(Lane::is_loading_tail)
                    && !self.stream.is_recording()
                    && !is_saving
                    && !self.is_unsaved()
            }
            Stage::Finished => true,
        }
    }

    /// When [`Input::Tick`] is due at the latest, in monotonic milliseconds. Always later than `now` if called
    /// after [`Feed::handle`] at the same time: what can't be started yet sets no alarm.
    #[must_use]
    pub fn wake_at_ms(&self, now: Now) -> Option<u64> {
        if self.reload.is_some() {
            return None;
        }
        let start = &self.start.operation;
        let saves = &self.saves.operation;
        match self.stage {
            Stage::Loading | Stage::AskingTime if saves.is_running() => None,
            Stage::Loading | Stage::AskingTime | Stage::RecordingGap => start.wake_at_ms(),
            Stage::SavingStart => saves.wake_at_ms(),
            Stage::Running => {
                let stream = self.stream.operation.wake_at_ms();
                let lanes = self.lanes.busy();
                let loads_tails = !self.draining || self.stream.waiting.is_some();
                let lanes = lanes.filter_map(|lane| lane.wake_at_ms(now, loads_tails));
                let save = self.save_at_ms();
                stream.into_iter().chain(lanes).chain(save).min()
            }
            Stage::Finished => None,
        }
    }
}
