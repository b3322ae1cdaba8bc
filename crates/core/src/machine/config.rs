//! What a feed is configured to do.

use crate::file::format::FileFormat;
use crate::limits::Limits;
use crate::namespace::Namespace;
use crate::namespace::selection::Watched;
use crate::position::ClusterTime;

/// Where a feed without a checkpoint starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// After the cluster's time at the start.
    Now,
    /// At this time, inclusive.
    Time(ClusterTime),
}

/// What a feed does if its position is no longer in the oplog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnHistoryLost {
    /// It halts: manual action is required.
    Halt,
    /// It records the gap in the lake and resumes after it.
    Restart,
}

/// What a feed does about a change that is too large for the server to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLargeEvent {
    /// It halts: manual action is required.
    Halt,
    /// It records the change's identity in the lake and resumes after it.
    Record,
}

/// The configuration of a feed.
#[derive(Clone, Debug)]
pub struct Config {
    /// What it watches.
    pub watched: Watched,
    /// The format of new files.
    pub format: FileFormat,
    /// Where to start without a checkpoint.
    pub start_at: StartAt,
    /// What to do if the position is no longer in the oplog.
    pub on_history_lost: OnHistoryLost,
    /// The limits.
    pub limits: Limits,
    /// Fingerprint of the stream's pipeline and options.
    pub stream_hash: String,
    /// Seed of the backoff's jitter.
    pub seed: u64,
}

impl Config {
    /// The collection, if the feed watches one alone. Such a feed knows all that it can lose: its tail says
    /// where it can resume.
    pub(super) fn only_namespace(&self) -> Option<&Namespace> {
        match &self.watched {
            Watched::Collection(namespace) => Some(namespace),
            Watched::Many { .. } => None,
        }
    }
}
