//! What goes into the machine and what comes out of it.

use std::sync::Arc;

use super::super::batch::{Batch, Changes, FlushReason};
use super::super::failure::Failure;
use super::super::gap::Gap;
use super::super::hour_file::{FileFormat, HourFile, HourFileName};
use super::super::limits::Limits;
use super::super::origin::Origin;
use super::super::position::{Checkpoint, ClusterTime, Position, ResumeToken, Stored};

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
    pub origin: Origin,
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

/// What a lake says of a collection.
pub type Tail = Option<HourFile>;

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// The first input.
    Start,
    /// Time went by.
    Tick,
    /// [`Action::Load`] ended.
    Loaded(Result<(Option<Stored>, Tail), Failure>),
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
    /// Flush what waits.
    Flush(FlushReason),
    /// [`Action::Commit`] ended.
    Committed(Result<HourFile, Failure>),
    /// [`Action::Inspect`] ended.
    Inspected(Result<Tail, Failure>),
    /// [`Action::Save`] ended.
    Saved(Result<(), Failure>),
    /// [`Action::Record`] ended.
    Recorded(Result<(), Failure>),
    /// Read no more, flush, save, finish.
    Drain,
}

impl Input {
    /// The failure that it tells of.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Loaded(Err(failure))
            | Self::ClusterTime(Err(failure))
            | Self::Opened(Err(failure))
            | Self::Closed(Some(failure))
            | Self::Committed(Err(failure))
            | Self::Inspected(Err(failure))
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
            | Self::Committed(Ok(_))
            | Self::Inspected(Ok(_))
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
    /// Read the checkpoint and then the lake's tail; answer with [`Input::Loaded`]. The other way
    /// round, with another writer at work, the lake could seem to be behind its checkpoint.
    Load,
    /// Ask the cluster for its time; answer with [`Input::ClusterTime`].
    AskClusterTime,
    /// Open the stream; answer with [`Input::Opened`], then changes, then [`Input::Closed`].
    Open(Position),
    /// Close the stream and forget what it gave and wasn't handled.
    Close,
    /// Make a commit; answer with [`Input::Committed`].
    Commit(WriteOrder),
    /// Read the lake's tail; answer with [`Input::Inspected`].
    Inspect,
    /// Save a checkpoint in place of this revision (0: there is none); answer with [`Input::Saved`].
    Save {
        /// What to save.
        checkpoint: Checkpoint,
        /// The revision that it replaces.
        replaces: u64,
    },
    /// Keep a record of a gap in the lake; answer with [`Input::Recorded`].
    Record(Gap),
    /// Say something.
    Tell(Notice),
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
    /// The checkpoint belongs to a stream with another pipeline or other options.
    StreamChanged {
        /// Fingerprint in the checkpoint.
        stored: String,
        /// Fingerprint now.
        current: String,
    },
    /// The lake is ahead of the checkpoint: changes up to its tail are dropped.
    LakeAhead,
    /// The stream has passed the lake's tail.
    CaughtUp {
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
    /// A part works again.
    Recovered(Trouble),
    /// The outcome of a commit was unknown and turned out to be success.
    FoundCommitted(HourFileName),
    /// Somebody else has moved on; the feed starts again from the checkpoint and the tail.
    Reloading(String),
}
