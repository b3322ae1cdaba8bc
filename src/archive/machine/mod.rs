//! The state machine of one feed.
//!
//! [`Feed::handle`] takes what happened and the time, and returns what to do. It has four parts
//! that go their own way: the start (load, anchor), the stream, the commit, the save. Whatever
//! happens, each part only notes it; [`Feed::advance`] then asks each part in turn what can be done
//! now. So a rule stands in one place, and no order of events is special.

mod commits;
mod history;
mod intake;
mod messages;
mod saves;
mod start;
mod view;

use std::collections::VecDeque;

pub use messages::{
    Action, Config, Input, Notice, Now, OnHistoryLost, OnLargeEvent, StartAt, Tail, Trouble,
    WriteOrder,
};

use super::backoff::Backoff;
use super::batch::{Batch, FlushReason};
use super::failure::{Disposition, Failure};
use super::gap::Gap;
use super::hour_file::HourFile;
use super::position::{Checkpoint, LastChange, Position};
use commits::CommitState;
pub use start::refuse_lake_behind;
pub use view::{Activity, Archived};

/// An operation at an edge that is tried until it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Try {
    /// May be started.
    Ready,
    /// Under way.
    Running,
    /// Failed; may be started again at this monotonic time.
    Waiting { until_ms: u64 },
}

impl Try {
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
    Seeking,
    /// The starting position is being saved; nothing is read before that is done.
    Anchoring,
    /// The oplog lost the position: the gap is being recorded; nothing is read before that is done.
    Bridging,
    /// The stream is read.
    Running,
    /// All is done.
    Finished,
}

/// The stream as the feed knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stream {
    Closed(Try),
    Open,
    /// The oplog lost the position, and the feed is to go on behind the gap.
    Lost(Gap),
}

/// The state of one feed.
#[derive(Debug)]
pub struct Feed {
    config: Config,
    stage: Stage,
    draining: bool,
    /// A stale view was noticed: when nothing is under way, start again from [`Stage::Loading`].
    reload: bool,

    load: Try,
    load_backoff: Backoff,
    /// Two writers that fence each other off must not do so as fast as they can.
    reload_backoff: Backoff,

    stream: Stream,
    stream_backoff: Backoff,
    /// Where the stream is to be opened next: after all that was read.
    read_position: Position,
    /// The lake's tail, until the stream has passed it: the lake already holds what comes before.
    skip_until: Option<LastChange>,
    skipped_changes: u64,
    /// The feed went on behind a gap, and nothing was read since.
    has_restarted: bool,

    queue: VecDeque<Batch>,
    /// Changes that a drain let go, because another writer had moved on.
    given_up_changes: u64,
    commit: CommitState,
    commit_backoff: Backoff,
    /// The newest hour file.
    file: Option<HourFile>,

    save: Try,
    save_backoff: Backoff,
    /// What could be saved now.
    safe: Checkpoint,
    /// What was saved last, and its revision.
    saved: Option<Checkpoint>,
    /// What a failed save may have saved nevertheless.
    unsure_save: Option<Checkpoint>,
    revision: u64,
    saved_at_ms: u64,

    archived: Archived,
    troubles: Troubles,
}

/// What is wrong now, for each part.
#[derive(Debug, Default)]
struct Troubles {
    start: Option<Trouble>,
    stream: Option<Trouble>,
    commit: Option<Trouble>,
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
        let nowhere = Position::At(super::position::ClusterTime {
            seconds: 0,
            increment: 0,
        });
        Self {
            stage: Stage::Loading,
            draining: false,
            reload: false,
            load: Try::Ready,
            load_backoff: backoff(1),
            reload_backoff: backoff(5),
            stream: Stream::Closed(Try::Ready),
            stream_backoff: backoff(2),
            read_position: nowhere.clone(),
            skip_until: None,
            skipped_changes: 0,
            has_restarted: false,
            queue: VecDeque::new(),
            given_up_changes: 0,
            commit: CommitState::Idle,
            commit_backoff: backoff(3),
            file: None,
            save: Try::Ready,
            save_backoff: backoff(4),
            safe: Checkpoint {
                position: nowhere,
                last_change: None,
                stream_hash: config.stream_hash.clone(),
                restarted_at: None,
            },
            saved: None,
            unsure_save: None,
            revision: 0,
            saved_at_ms: 0,
            archived: Archived::default(),
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
            Input::Loaded(result) => self.loaded(result, now, &mut out),
            Input::ClusterTime(result) => self.cluster_time(result, now, &mut out),
            Input::Opened(result) => self.opened(result, now, &mut out),
            Input::Changes(changes) => self.changes(&changes, now, &mut out),
            Input::Idle(token) => self.idle(token, &mut out),
            Input::Closed(failure) => self.closed(failure, now, &mut out),
            Input::Flush(reason) => {
                self.seal_open(reason);
                if reason.is_asked_for() {
                    self.hurry();
                }
            }
            Input::Committed(result) => self.committed(result, now, &mut out),
            Input::Inspected(result) => self.inspected(result, now, &mut out),
            Input::Saved(result) => self.saved(result, now, &mut out),
            Input::Recorded(result) => self.recorded(result, now, &mut out),
            Input::Drain => self.drain(&mut out),
        }
        self.advance(now, &mut out);
        out
    }

    /// Does what can be done now.
    fn advance(&mut self, now: Now, out: &mut Actions) {
        if self.reload && !self.advance_reload(now, out) {
            return;
        }
        match self.stage {
            Stage::Loading | Stage::Seeking => self.advance_start(now, out),
            Stage::Anchoring => self.advance_save(now, out),
            Stage::Bridging => self.advance_bridge(now, out),
            Stage::Running => {
                self.advance_stream(now, out);
                self.advance_commit(now, out);
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

    /// Goes back to the checkpoint and the tail once nothing is under way. Returns whether it did.
    fn advance_reload(&mut self, now: Now, out: &mut Actions) -> bool {
        if self.save == Try::Running || self.commit.is_running() {
            return false;
        }
        self.reload = false;
        if self.stream != Stream::Closed(Try::Ready) {
            out.push(Action::Close);
        }
        self.stage = Stage::Loading;
        let delay_ms = self.reload_backoff.failed(Disposition::RETRY);
        self.load = Try::Waiting {
            until_ms: now.monotonic_ms + delay_ms,
        };
        self.stream = Stream::Closed(Try::Ready);
        self.skip_until = None;
        self.has_restarted = false;
        if self.draining {
            self.given_up_changes += self.buffered_changes();
        }
        self.queue.clear();
        self.commit = CommitState::Idle;
        self.save = Try::Ready;
        self.file = None;
        self.saved = None;
        // What was in trouble is given up; what still is will show again.
        self.troubles = Troubles::default();
        self.commit_backoff.succeeded();
        self.save_backoff.succeeded();
        true
    }

    fn drain(&mut self, out: &mut Actions) {
        if self.draining {
            return;
        }
        self.draining = true;
        if self.stage == Stage::Running {
            out.push(Action::Close);
            self.stream = Stream::Closed(Try::Ready);
        }
        self.seal_open(FlushReason::Drain);
        // There may be no later.
        self.hurry();
    }

    /// Tries at once what waits for its next try: a person has mended something, or it is the end.
    fn hurry(&mut self) {
        self.commit.hurry();
        self.load.hurry();
        self.save.hurry();
        if let Stream::Closed(state) = &mut self.stream {
            state.hurry();
        }
    }

    /// Whether a drained feed has nothing left that could be done.
    fn is_drained(&self) -> bool {
        match self.stage {
            Stage::Loading | Stage::Seeking | Stage::Bridging => {
                self.load != Try::Running && self.save != Try::Running
            }
            Stage::Anchoring => self.save != Try::Running,
            Stage::Running => {
                self.queue.is_empty()
                    && self.commit.is_idle()
                    && self.save != Try::Running
                    && !self.is_unsaved()
            }
            Stage::Finished => true,
        }
    }

    /// When [`Input::Tick`] is due at the latest, in monotonic milliseconds. Always later than `now`
    /// when asked behind [`Feed::handle`] at the same time: what can't be done yet sets no alarm.
    #[must_use]
    pub fn wake_at_ms(&self, now: Now) -> Option<u64> {
        if self.reload {
            return None;
        }
        match self.stage {
            Stage::Loading | Stage::Seeking if self.save == Try::Running => None,
            Stage::Loading | Stage::Seeking | Stage::Bridging => self.load.wake_at_ms(),
            Stage::Anchoring => self.save.wake_at_ms(),
            Stage::Running => {
                let stream = match self.stream {
                    Stream::Closed(state) => state.wake_at_ms(),
                    _ => None,
                };
                let commit = match &self.commit {
                    CommitState::Idle => self
                        .hour_end_in_ms(now)
                        .map(|in_ms| now.monotonic_ms + in_ms),
                    unfinished => unfinished.wake_at_ms(),
                };
                let save = match self.save {
                    Try::Ready => self.idle_save_at_ms(),
                    state => state.wake_at_ms(),
                };
                [stream, commit, save].into_iter().flatten().min()
            }
            Stage::Finished => None,
        }
    }

    /// Notes a failure: the delay before the next try, and what is to be said about it.
    fn fail(
        failure: &Failure,
        backoff: &mut Backoff,
        trouble: &mut Option<Trouble>,
        now: Now,
        out: &mut Actions,
    ) -> Try {
        let delay_ms = backoff.failed(failure.disposition);
        match failure.disposition {
            Disposition::Exit => out.push(Action::Exit(failure.message.clone())),
            Disposition::Reload => {}
            Disposition::Retry { .. } | Disposition::Halt | Disposition::HistoryLost { .. } => {
                let is_halt = !matches!(failure.disposition, Disposition::Retry { .. });
                let next = Trouble {
                    message: failure.message.clone(),
                    failures: backoff.failures(),
                    is_halt,
                };
                let is_news = trouble
                    .as_ref()
                    .is_none_or(|old| old.message != next.message);
                if is_halt && is_news {
                    out.push(Action::Tell(Notice::Halted(failure.message.clone())));
                } else if !is_halt {
                    let (message, failures) = (next.message.clone(), next.failures);
                    out.push(Action::Tell(Notice::Retrying {
                        message,
                        failures,
                        delay_ms,
                    }));
                }
                *trouble = Some(next);
            }
        }
        Try::Waiting {
            until_ms: now.monotonic_ms + delay_ms,
        }
    }

    /// Notes that a part works again.
    fn mend(backoff: &mut Backoff, trouble: &mut Option<Trouble>, out: &mut Actions) {
        backoff.succeeded();
        if let Some(past) = trouble.take() {
            out.push(Action::Tell(Notice::Recovered(past)));
        }
    }
}
