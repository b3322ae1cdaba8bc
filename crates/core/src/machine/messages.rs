//! What goes into the machine and what comes out of it.

use std::sync::Arc;

use super::{Actions, Attempt, LaneId};
use crate::backoff::Backoff;
use crate::batch::{Batch, Changes, FlushReason};
use crate::failure::{Disposition, Failure};
use crate::file::format::FileFormat;
use crate::file::hour_file::{HourFile, HourFileName};
use crate::gap::{Gap, Record};
use crate::large_event::LargeEvent;
use crate::limits::Limits;
use crate::namespace::Namespace;
use crate::namespace::selection::Watched;
use crate::position::{Checkpoint, ClusterTime, Position, ResumeToken, Stored, Watermark};

/// The time of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds on a clock that never runs back.
    pub monotonic_ms: u64,
    /// Milliseconds since 1970 on the wall clock.
    pub unix_ms: i64,
}

/// Where a feed without a checkpoint starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// Behind the cluster's time at the start.
    Now,
    /// At this time, inclusive.
    Time(ClusterTime),
}

/// What a feed does whose position is no longer in the oplog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnHistoryLost {
    /// It needs a person.
    Halt,
    /// It records the gap in the lake and goes on behind it.
    Restart,
}

/// What a feed does about a change that the server can't send, being larger than BSON allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLargeEvent {
    /// It needs a person.
    Halt,
    /// It records the change's identity in the lake and goes on behind it.
    Record,
}

/// What a feed is to do.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whose changes.
    pub watched: Watched,
    /// How new files are written.
    pub format: FileFormat,
    /// Where to start without a checkpoint.
    pub start_at: StartAt,
    /// What to do where the position is no longer in the oplog.
    pub on_history_lost: OnHistoryLost,
    /// The limits.
    pub limits: Limits,
    /// Fingerprint of the stream's pipeline and options.
    pub stream_hash: String,
    /// Seed of the backoff's jitter.
    pub seed: u64,
}

impl Config {
    /// The collection, of a feed that watches one alone.
    #[must_use]
    pub fn only_namespace(&self) -> Option<&Namespace> {
        match &self.watched {
            Watched::Collection(namespace) => Some(namespace),
            Watched::Many { .. } => None,
        }
    }
}

/// What a lake says of a collection.
pub type Tail = Option<HourFile>;

/// What a feed finds at its start.
#[derive(Clone, Debug, Default)]
pub struct StartState {
    /// Its checkpoint.
    pub stored: Option<Stored>,
    /// The newest hour file, for a feed of one collection.
    pub tail: Tail,
    /// Where it is to go on instead of at its checkpoint, because others carried its collections.
    pub handover: Option<Handover>,
    /// A file of changes of its collections that is in the lake although a feed of many has no checkpoint.
    pub orphan: Option<String>,
    /// Where the oplog begins, if that can be seen and a feed of many is to go on elsewhere.
    pub oldest: Option<ClusterTime>,
}

/// Where a feed takes over what another one carried: behind what that one has archived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// The changes of an earlier cluster time are in the lake.
    pub at: ClusterTime,
    /// The feed that tells.
    pub from: String,
    /// The last changes that it and others brought into the same files, as far as they know.
    pub watermarks: Vec<Watermark>,
}

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// The first input.
    Start,
    /// Time went by.
    Tick,
    /// [`Action::Load`] ended.
    Loaded(Result<Box<StartState>, Failure>),
    /// [`Action::LoadTail`] ended.
    TailLoaded(LaneId, Result<Tail, Failure>),
    /// [`Action::AskClusterTime`] ended.
    ClusterTime(Result<ClusterTime, Failure>),
    /// [`Action::Open`] ended.
    Opened(Result<(), Failure>),
    /// The stream gave changes.
    Changes(Changes),
    /// The server has looked as far as this post-batch resume token.
    Idle(ResumeToken),
    /// The stream ended: by an error, or after an invalidate without one.
    Closed(Option<Failure>),
    /// The stream ended before a change that the server can't send, and the operator wants to go on
    /// behind it.
    TooLarge(LargeEvent),
    /// Flush what waits.
    Flush(FlushReason),
    /// [`Action::Commit`] ended.
    Committed(LaneId, Result<HourFile, Failure>),
    /// [`Action::Inspect`] ended.
    Inspected(LaneId, Result<Tail, Failure>),
    /// [`Action::Save`] ended.
    Saved(Result<(), Failure>),
    /// [`Action::Record`] ended.
    Recorded(Result<(), Failure>),
    /// Read no more, flush, save, finish.
    Drain,
}

impl Input {
    /// The lane that it tells of, if it is one alone.
    #[must_use]
    pub fn lane(&self) -> Option<LaneId> {
        match self {
            Self::TailLoaded(lane, _) | Self::Committed(lane, _) | Self::Inspected(lane, _) => {
                Some(*lane)
            }
            // That of a feed of one collection is loaded with its checkpoint.
            Self::Loaded(_) | Self::ClusterTime(_) => Some(LaneId::ONLY),
            _ => None,
        }
    }

    /// The failure that it tells of.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Loaded(Err(failure))
            | Self::ClusterTime(Err(failure))
            | Self::Opened(Err(failure))
            | Self::Closed(Some(failure))
            | Self::TailLoaded(_, Err(failure))
            | Self::Committed(_, Err(failure))
            | Self::Inspected(_, Err(failure))
            | Self::Saved(Err(failure))
            | Self::Recorded(Err(failure)) => Some(failure),
            Self::Start
            | Self::Tick
            | Self::Loaded(Ok(_))
            | Self::ClusterTime(Ok(_))
            | Self::Opened(Ok(()))
            | Self::Changes(_)
            | Self::Idle(_)
            | Self::Closed(None)
            | Self::Flush(_)
            | Self::TooLarge(_)
            | Self::TailLoaded(_, Ok(_))
            | Self::Committed(_, Ok(_))
            | Self::Inspected(_, Ok(_))
            | Self::Saved(Ok(()))
            | Self::Recorded(Ok(()))
            | Self::Drain => None,
        }
    }
}

/// A commit to make.
#[derive(Clone, Debug)]
pub struct WriteOrder {
    /// The file as it is, or `None` if it isn't there yet.
    pub base: Option<HourFile>,
    /// The file to write.
    pub name: HourFileName,
    /// What to add to it.
    pub batch: Arc<Batch>,
    /// Why it is written now.
    pub reason: FlushReason,
}

/// Something to do.
#[derive(Debug)]
pub enum Action {
    /// Read the checkpoint and then, of a feed of one collection, the lake's tail; answer with
    /// [`Input::Loaded`]. The other way round, with another writer at work, the lake could seem to be
    /// behind its checkpoint.
    Load,
    /// Read the lake's tail of one of many collections; answer with [`Input::TailLoaded`].
    LoadTail(LaneId),
    /// Ask the cluster for its time; answer with [`Input::ClusterTime`].
    AskClusterTime,
    /// Open the stream; answer with [`Input::Opened`], then changes, then [`Input::Closed`].
    Open(Position),
    /// Close the stream and forget what it gave and wasn't handled.
    Close,
    /// Make a commit; answer with [`Input::Committed`].
    Commit(LaneId, WriteOrder),
    /// Read the lake's tail; answer with [`Input::Inspected`].
    Inspect(LaneId),
    /// Save a checkpoint in place of this revision (0: there is none); answer with [`Input::Saved`].
    Save {
        /// What to save.
        checkpoint: Checkpoint,
        /// The revision that it replaces.
        replaces: u64,
    },
    /// Keep records in the lake, each in its collection's folder; answer with [`Input::Recorded`].
    Record(Vec<(Namespace, Record)>),
    /// Say something, of one collection or of the whole feed.
    Notify(Option<LaneId>, Notice),
    /// The feed is drained.
    Finish,
    /// The process can't do its job, for this reason.
    Exit(String),
}

/// What is wrong with a part of a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What happened and what mends it.
    pub message: String,
    /// How often in a row.
    pub failures: u32,
    /// Whether it needs a person.
    pub is_halt: bool,
}

/// Something worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The stream is open and read from here.
    Watching(Position),
    /// The starting position was decided without a checkpoint.
    StartsAt {
        /// Where.
        position: Position,
        /// Whether the lake's tail decided it.
        from_tail: bool,
    },
    /// The feed goes on where another one stood that carried its collections, or one of them.
    TakingOver(Handover),
    /// The checkpoint belongs to a stream with another pipeline or other options. The stream is opened at
    /// a time, since the token may not be one of it, and what the lake holds is passed over.
    StreamChanged {
        /// Fingerprint in the checkpoint.
        stored: String,
        /// Fingerprint now.
        current: String,
        /// Where it goes on; `None` if the token must do, since it tells no time.
        at: Option<ClusterTime>,
    },
    /// The lake is ahead of the checkpoint: changes up to its tail are dropped.
    OverlapFound,
    /// The stream has passed the lake's tail.
    OverlapPassed {
        /// Changes that the lake already held.
        skipped: u64,
    },
    /// An operation failed and is tried again.
    Retrying {
        /// Why.
        message: String,
        /// Failures in a row.
        failures: u32,
        /// Until the next try.
        delay_ms: u64,
    },
    /// Flushes fail. The changes are held and tried on.
    FlushFailing {
        /// Why.
        message: String,
        /// Changes in memory.
        changes: u64,
    },
    /// The feed needs a person.
    Halted(String),
    /// The position is gone from the oplog, and the feed is to go on behind the gap.
    HistoryLost(String),
    /// The gap is on record, and the feed goes on behind it.
    Restarted(Gap),
    /// A change that the server can't send is on record, and the feed goes on behind it.
    LargeEventRecorded(LargeEvent),
    /// A part works again.
    Recovered(Trouble),
    /// The outcome of a commit was unknown and turned out to be success.
    CommitConfirmed(HourFileName),
    /// Somebody else has moved on; the feed starts again from the checkpoint and the tail.
    Reloading(String),
}

/// Where a part of the machine puts its actions, and whose notices they are.
pub(super) struct Reporter<'a> {
    out: &'a mut Actions,
    lane: Option<LaneId>,
}

impl<'a> Reporter<'a> {
    /// That of the whole feed.
    pub fn of_feed(out: &'a mut Actions) -> Self {
        Self { out, lane: None }
    }

    /// That of one collection.
    pub fn of_lane(out: &'a mut Actions, lane: LaneId) -> Self {
        Self {
            out,
            lane: Some(lane),
        }
    }

    pub fn act(&mut self, action: Action) {
        self.out.push(action);
    }

    pub fn notify(&mut self, notice: Notice) {
        self.out.push(Action::Notify(self.lane, notice));
    }

    /// Notes a failure: the delay before the next try, and what is to be said about it.
    pub fn failed(
        &mut self,
        failure: &Failure,
        backoff: &mut Backoff,
        trouble: &mut Option<Trouble>,
        now: Now,
    ) -> Attempt {
        let delay_ms = backoff.failed(failure.disposition);
        match failure.disposition {
            Disposition::Exit => self.act(Action::Exit(failure.message.clone())),
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
                    self.notify(Notice::Halted(failure.message.clone()));
                } else if !is_halt {
                    self.notify(Notice::Retrying {
                        message: next.message.clone(),
                        failures: next.failures,
                        delay_ms,
                    });
                }
                *trouble = Some(next);
            }
        }
        Attempt::Waiting {
            until_ms: now.monotonic_ms + delay_ms,
        }
    }

    /// Notes that a part works again.
    pub fn recovered(&mut self, backoff: &mut Backoff, trouble: &mut Option<Trouble>) {
        backoff.succeeded();
        if let Some(past) = trouble.take() {
            self.notify(Notice::Recovered(past));
        }
    }
}
