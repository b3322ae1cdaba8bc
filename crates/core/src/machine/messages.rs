//! The inputs and outputs of the state machine.

use std::sync::Arc;

use super::LaneId;
use crate::batch::{Batch, Changes, FlushReason};
use crate::failure::Failure;
use crate::file::hour_file::{HourFile, HourFileName};
use crate::file::version::Version;
use crate::gap::{Gap, Record};
use crate::handover::Handover;
use crate::large_event::LargeEvent;
use crate::namespace::Namespace;
use crate::position::{Checkpoint, ClusterTime, Position, ResumeToken, Stored};

/// The time of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds on a monotonic clock.
    pub monotonic_ms: u64,
    /// Milliseconds since 1970 on the wall clock.
    pub unix_ms: i64,
}

/// A collection's newest hour file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail {
    /// The file.
    pub file: HourFile,
    /// Its state at the lake, which the next commit to it names.
    pub version: Version,
    /// Whether its hour has a closing record, so that nothing may be appended to it.
    pub is_closed: bool,
}

/// What a feed finds at its start.
#[derive(Clone, Debug, Default)]
pub struct StartState {
    /// Its checkpoint.
    pub stored: Option<Stored>,
    /// The tails that were loaded with the checkpoint: that of the collection, if the feed carries one alone.
    /// The others are loaded when their first change comes.
    pub tails: Vec<(Namespace, Option<Tail>)>,
    /// Where it is to resume instead of at its checkpoint, because other feeds carried its collections.
    pub handover: Option<Handover>,
    /// An hour file of one of its collections, although a feed of many collections has no checkpoint.
    pub orphan: Option<String>,
    /// The beginning of the oplog, if it can be seen and the feed takes over collections.
    pub oldest: Option<ClusterTime>,
}

impl StartState {
    /// The tail, if one collection's was loaded and it has a file.
    pub(super) fn tail(&self) -> Option<&HourFile> {
        let tails = self.tails.iter();
        tails
            .filter_map(|(_, tail)| tail.as_ref())
            .map(|tail| &tail.file)
            .next()
    }
}

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// The first input.
    Start,
    /// Time has passed.
    Tick,
    /// [`Action::Load`] ended.
    Loaded(Result<Box<StartState>, Failure>),
    /// [`Action::LoadTail`] ended.
    TailLoaded(LaneId, Result<Option<Tail>, Failure>),
    /// [`Action::AskClusterTime`] ended.
    ClusterTime(Result<ClusterTime, Failure>),
    /// [`Action::Open`] ended.
    Opened(Result<(), Failure>),
    /// The stream returned changes.
    Changes(Changes),
    /// The stream has no changes up to this post-batch resume token.
    Idle(ResumeToken),
    /// The stream ended: by an error, or without one after an invalidate.
    Closed(Option<Failure>),
    /// The stream ended before a change that the server can't send, and the feed is to resume after it.
    TooLarge(LargeEvent),
    /// Flush all batches.
    Flush(FlushReason),
    /// [`Action::Commit`] ended.
    Committed(LaneId, Result<Tail, Failure>),
    /// [`Action::Inspect`] ended.
    Inspected(LaneId, Result<Option<Tail>, Failure>),
    /// [`Action::Save`] ended.
    Saved(Result<(), Failure>),
    /// [`Action::Record`] ended.
    Recorded(Result<(), Failure>),
    /// Stop reading, flush, save, finish.
    Drain,
}

impl Input {
    /// The lane that it concerns, if it concerns one.
    #[must_use]
    pub fn lane(&self) -> Option<LaneId> {
        match self {
            Self::TailLoaded(lane, _) | Self::Committed(lane, _) | Self::Inspected(lane, _) => {
                Some(*lane)
            }
            _ => None,
        }
    }

    /// Whether it may begin a new view of all lanes.
    #[must_use]
    pub fn is_of_start(&self) -> bool {
        matches!(self, Self::Loaded(_) | Self::ClusterTime(_))
    }

    /// The failure that it reports.
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
    /// The file as it is, or `None` if it doesn't exist yet.
    pub base: Option<Tail>,
    /// The file to write.
    pub name: HourFileName,
    /// The changes to append.
    pub batch: Arc<Batch>,
    /// Why it is written now.
    pub reason: FlushReason,
}

/// Something to do.
#[derive(Debug)]
pub enum Action {
    /// Read the checkpoint and then, for a feed of one collection, its tail; answer with [`Input::Loaded`].
    /// In the other order the tail could seem older than the checkpoint while another writer is active.
    Load,
    /// Read the tail of one collection; answer with [`Input::TailLoaded`].
    LoadTail(LaneId),
    /// Ask the cluster for its time; answer with [`Input::ClusterTime`].
    AskClusterTime,
    /// Open the stream; answer with [`Input::Opened`], then changes, then [`Input::Closed`].
    Open(Position),
    /// Close the stream and discard what it returned and wasn't handled.
    Close,
    /// Make a commit; answer with [`Input::Committed`].
    Commit(LaneId, WriteOrder),
    /// Read the tail again; answer with [`Input::Inspected`].
    Inspect(LaneId),
    /// Save a checkpoint that replaces this revision (0: there is none); answer with [`Input::Saved`].
    Save {
        /// What to save.
        checkpoint: Checkpoint,
        /// The revision that it replaces.
        replaces: u64,
    },
    /// Write records to the lake, each to its collection's folder; answer with [`Input::Recorded`].
    Record(Vec<(Namespace, Record)>),
    /// Log a notice about one collection or about the whole feed.
    Notify(Option<LaneId>, Notice),
    /// The feed is drained.
    Finish,
    /// The process can't continue, for this reason.
    Exit(String),
}

/// The current failure of a part of a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What happened and how to fix it.
    pub message: String,
    /// Failures in a row.
    pub failures: u32,
    /// Whether manual action is required.
    pub is_halt: bool,
}

/// An event that is worth a log line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The stream is open, from this position.
    Watching(Position),
    /// The starting position was chosen without a checkpoint.
    StartsAt {
        /// The position.
        position: Position,
        /// Whether it is the collection's tail.
        from_tail: bool,
    },
    /// The feed takes over collections that another feed carried.
    TakingOver(Handover),
    /// The checkpoint belongs to a stream with another pipeline or other options. Its token may not occur in
    /// the new stream, so that is opened at a time, and the overlap is dropped.
    StreamChanged {
        /// Fingerprint in the checkpoint.
        stored: String,
        /// Fingerprint now.
        current: String,
        /// Where the stream is opened; `None` if the token contains no time and has to do.
        at: Option<ClusterTime>,
    },
    /// The lake already holds changes after the position: they are dropped, up to the tail.
    OverlapFound,
    /// The stream has reached the tail.
    OverlapPassed {
        /// Changes that the lake already held.
        skipped: u64,
    },
    /// An operation failed and will be retried.
    Retrying {
        /// Why.
        message: String,
        /// Failures in a row.
        failures: u32,
        /// The delay before the next attempt.
        delay_ms: u64,
    },
    /// Flushes are failing. The changes are kept in memory and retried.
    FlushFailing {
        /// Why.
        message: String,
        /// Changes in memory.
        changes: u64,
    },
    /// Manual action is required.
    Halted(String),
    /// The position is no longer in the oplog. The feed will resume after the gap.
    HistoryLost(String),
    /// The gap is recorded, and the feed resumes after it.
    Restarted(Gap),
    /// A change that the server can't send is recorded, and the feed resumes after it.
    LargeEventRecorded(LargeEvent),
    /// A part works again.
    Recovered(Trouble),
    /// A commit whose outcome was unknown had succeeded.
    CommitConfirmed(HourFileName),
    /// Another writer has changed the lake or the checkpoint. The feed starts again from them.
    Reloading(String),
}
