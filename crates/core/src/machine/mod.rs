//! The state machine of one feed.
//!
//! [`Feed::handle`] takes what happened and the time, and returns what to do. It has four parts
//! that go their own way: the start (load, anchor), the stream, the commits, the save. Whatever
//! happens, each part only notes it; [`Feed::advance`] then asks each part in turn what can be done
//! now. So a rule stands in one place, and no order of events is special.
//!
//! A feed carries one collection or many. Each has a [`lane::Lane`]: its batches, its commits, its end in
//! the lake. The stream and its position are the feed's: [`progress::Progress`] knows which position may
//! be saved while the lanes' commits end in any order.

mod commits;
mod dropped;
mod history;
mod intake;
mod lane;
mod lanes;
mod large;
mod messages;
mod progress;
mod resume_point;
mod saves;
mod start;
mod view;

pub use lanes::LaneId;
pub use messages::{
    Action, Config, Handover, Input, Notice, Now, OnHistoryLost, OnLargeEvent, StartAt, StartState,
    Tail, Trouble, WriteOrder,
};

use crate::backoff::Backoff;
use crate::batch::{Changes, FlushReason};
use crate::failure::{Disposition, Failure};
use crate::gap::Gap;
use crate::large_event::LargeEvent;
use crate::position::{Checkpoint, ClusterTime, Departure};
use commits::CommitEnd;
use dropped::Dropped;
use lane::Lane;
use lanes::Lanes;
use messages::Reporter;
use progress::{Progress, StreamPoint};
use resume_point::ResumePoint;
pub use resume_point::{refuse_older_lake, refuse_older_tail, restart_time};
pub use start::{checkpoint_missing, effective_handover};
pub use view::{Activity, Archived};

/// An operation at an edge that is tried until it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    /// May be started.
    Ready,
    /// Under way.
    Running,
    /// Failed; may be started again at this monotonic time.
    Waiting { until_ms: u64 },
}

impl Attempt {
    fn may_start(self, now: Now) -> bool {
        match self {
            Self::Ready => true,
            Self::Running => false,
            Self::Waiting { until_ms } => now.monotonic_ms >= until_ms,
        }
    }

    fn hurry(&mut self) {
        if matches!(self, Self::Waiting { .. }) {
            *self = Self::Ready;
        }
    }

    fn wake_at_ms(self) -> Option<u64> {
        match self {
            Self::Waiting { until_ms } => Some(until_ms),
            Self::Ready | Self::Running => None,
        }
    }
}

/// Where the feed is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The checkpoint and the lake's tail are being read.
    Loading,
    /// The cluster's time is asked for, to start at now.
    AskingTime,
    /// The starting position is being saved; nothing is read before that is done.
    SavingStart,
    /// The oplog lost the position: the gap is being recorded; nothing is read before that is done.
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
    /// Somebody is to put the lake or the checkpoint right.
    Halted(Failure),
}

/// The stream as the feed knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stream {
    Closed(Attempt),
    Open,
    /// The oplog lost the position, and the feed is to go on behind the gap.
    Lost(Gap),
    /// The server can't send the next change, and the feed is to go on behind it once that is on record.
    TooLarge(LargeEvent, Attempt),
}

/// The state of one feed.
#[derive(Debug)]
pub struct Feed {
    config: Config,
    stage: Stage,
    draining: bool,
    /// When nothing is under way, the feed starts again from [`Stage::Loading`].
    reload: Option<Reload>,

    load: Attempt,
    load_backoff: Backoff,
    /// Two writers that fence each other off must not do so as fast as they can.
    reload_backoff: Backoff,
    /// What the start found, until the cluster's time is known that it needs.
    found: Option<StartState>,
    /// What each lane is reconciled with.
    resume_point: ResumePoint,

    stream: Stream,
    stream_backoff: Backoff,
    progress: Progress,
    /// Changes that came, and wait until it is known where the lake ends for each of their collections.
    waiting: Option<Changes>,
    /// The feed went on behind a gap, and nothing was read since.
    has_restarted: bool,

    lanes: Lanes,
    /// Changes that were read and dropped, until they are read again.
    dropped: Option<Dropped>,

    save: Attempt,
    save_backoff: Backoff,
    /// What was saved last, and its revision.
    saved: Option<Checkpoint>,
    /// What a failed save may have saved nevertheless.
    uncertain_save: Option<Checkpoint>,
    revision: u64,
    saved_at_ms: u64,
    /// Whether the lake got on since, so that the position is worth saving at once.
    is_save_urgent: bool,
    restarted_at: Option<ClusterTime>,
    refiltered_at: Option<ClusterTime>,
    departed: Vec<Departure>,

    archived: Archived,
    last_change_time: Option<ClusterTime>,
    troubles: Troubles,
}

/// What is wrong now, for each part but the lanes.
#[derive(Debug, Default)]
struct Troubles {
    start: Option<Trouble>,
    stream: Option<Trouble>,
    save: Option<Trouble>,
}

/// What one call of [`Feed::handle`] collects.
type Actions = Vec<Action>;

impl Feed {
    /// A feed that has done nothing yet. Its first action comes with the first input.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let backoff =
            |salt| Backoff::new(config.limits.retry_delay_ms, config.seed.wrapping_add(salt));
        let nowhere = StreamPoint::at(ClusterTime {
            seconds: 0,
            increment: 0,
        });
        Self {
            stage: Stage::Loading,
            draining: false,
            reload: None,
            load: Attempt::Ready,
            load_backoff: backoff(1),
            reload_backoff: backoff(5),
            found: None,
            resume_point: ResumePoint::default(),
            stream: Stream::Closed(Attempt::Ready),
            stream_backoff: backoff(2),
            progress: Progress::from(nowhere),
            waiting: None,
            has_restarted: false,
            lanes: Lanes::default(),
            dropped: None,
            save: Attempt::Ready,
            save_backoff: backoff(4),
            saved: None,
            uncertain_save: None,
            revision: 0,
            saved_at_ms: 0,
            is_save_urgent: false,
            restarted_at: None,
            refiltered_at: None,
            departed: Vec::new(),
            archived: Archived::default(),
            last_change_time: None,
            troubles: Troubles::default(),
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
            Input::Loaded(result) => self.loaded(result.map(|found| *found), now, &mut out),
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
                self.is_save_urgent = true;
                let time = Some(batch.last.cluster_time);
                self.last_change_time = self.last_change_time.max(time);
                self.archived.note(&batch);
            }
        }
    }

    /// Does what can be done now.
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
            if !self.draining || self.waiting.is_some() {
                lane.advance_tail(now, reporter);
            }
            lane.advance_commit(&self.config, now, reporter);
            self.lanes.settle(id);
        }
    }

    /// A collection with few changes must not keep the position back for long: what was read since is
    /// read again after a crash.
    fn seal_what_holds_back(&mut self) {
        if let Some((lane, changes_since)) = self.progress.oldest()
            && changes_since > self.config.limits.hold_limit_changes
        {
            self.lanes[lane].seal_open(FlushReason::Position);
        }
    }

    /// Goes back to the checkpoint and the tail once nothing is under way. Returns whether it did.
    fn advance_reload(&mut self, now: Now, out: &mut Actions) -> bool {
        let is_busy = |lane: &Lane| lane.commit.is_running() || lane.is_loading_tail();
        let is_recording = matches!(self.stream, Stream::TooLarge(_, Attempt::Running));
        if self.save == Attempt::Running || is_recording || self.lanes.busy().any(is_busy) {
            return false;
        }
        if self.stream != Stream::Closed(Attempt::Ready) {
            out.push(Action::Close);
        }
        self.stage = Stage::Loading;
        self.stream = Stream::Closed(Attempt::Ready);
        self.note_all_dropped();
        self.waiting = None;
        self.has_restarted = false;
        self.progress.clear();
        self.lanes.clear();
        self.save = Attempt::Ready;
        self.saved = None;
        // What was in trouble is given up; what still is will show again.
        self.troubles = Troubles::default();
        self.save_backoff.succeeded();
        if let Some(Reload::Halted(failure)) = self.reload.take() {
            self.start_failed(&failure, now, out);
        } else {
            let delay_ms = self.reload_backoff.failed(Disposition::RETRY);
            self.load = Attempt::Waiting {
                until_ms: now.monotonic_ms + delay_ms,
            };
        }
        true
    }

    fn drain(&mut self, out: &mut Actions) {
        if self.draining {
            return;
        }
        self.draining = true;
        let is_recording = matches!(self.stream, Stream::TooLarge(_, Attempt::Running));
        if self.stage == Stage::Running && !is_recording {
            out.push(Action::Close);
            self.stream = Stream::Closed(Attempt::Ready);
        }
        // Changes that wait for a tail are still taken: they were read.
        self.lanes.seal_open(FlushReason::Drain);
        // There may be no later.
        self.hurry();
    }

    /// Tries at once what waits for its next try: a person has mended something, or it is the end.
    fn hurry(&mut self) {
        self.lanes.hurry();
        self.load.hurry();
        self.save.hurry();
        if let Stream::Closed(state) | Stream::TooLarge(_, state) = &mut self.stream {
            state.hurry();
        }
    }

    /// Whether a drained feed has nothing left that could be done.
    fn is_drained(&self) -> bool {
        match self.stage {
            Stage::Loading | Stage::AskingTime | Stage::RecordingGap => {
                self.load != Attempt::Running && self.save != Attempt::Running
            }
            Stage::SavingStart => self.save != Attempt::Running,
            Stage::Running => {
                self.lanes.are_archived()
                    && self.waiting.is_none()
                    && !self.lanes.busy().any(Lane::is_loading_tail)
                    && !matches!(self.stream, Stream::TooLarge(_, Attempt::Running))
                    && self.save != Attempt::Running
                    && !self.is_unsaved()
            }
            Stage::Finished => true,
        }
    }

    /// When [`Input::Tick`] is due at the latest, in monotonic milliseconds. Always later than `now`
    /// when asked behind [`Feed::handle`] at the same time: what can't be done yet sets no alarm.
    #[must_use]
    pub fn wake_at_ms(&self, now: Now) -> Option<u64> {
        if self.reload.is_some() {
            return None;
        }
        match self.stage {
            Stage::Loading | Stage::AskingTime if self.save == Attempt::Running => None,
            Stage::Loading | Stage::AskingTime | Stage::RecordingGap => self.load.wake_at_ms(),
            Stage::SavingStart => self.save.wake_at_ms(),
            Stage::Running => {
                let stream = match &self.stream {
                    Stream::Closed(state) | Stream::TooLarge(_, state) => state.wake_at_ms(),
                    _ => None,
                };
                let lanes = self.lanes.busy();
                let loads_tails = !self.draining || self.waiting.is_some();
                let lanes = lanes.filter_map(|lane| lane.wake_at_ms(now, loads_tails));
                let save = self.save_at_ms();
                stream.into_iter().chain(lanes).chain(save).min()
            }
            Stage::Finished => None,
        }
    }
}
