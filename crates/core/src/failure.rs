//! What an edge's error means for a feed.

use crate::position::ClusterTime;

/// What to do about an error. Every edge's error enum maps each of its variants to one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Retry after a delay: the network, an election, throttling.
    Retry {
        /// The least delay that the server asked for, in milliseconds.
        after_ms: Option<u64>,
    },
    /// The feed's view is stale: start again from the checkpoint and the tail.
    Reload,
    /// Manual action is required; other feeds continue. Retried at the longest delay, which is safe because
    /// nothing is ever skipped.
    Halt,
    /// The next change is no longer in the oplog: a halt, unless the feed is configured to resume after the gap.
    HistoryLost {
        /// The beginning of the oplog, if it could be determined.
        oldest: Option<ClusterTime>,
    },
    /// The process can't continue.
    Exit,
}

impl Disposition {
    /// Retry as soon as the backoff allows.
    pub const RETRY: Self = Self::Retry { after_ms: None };
}

/// An edge's error as the core sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What to do.
    pub disposition: Disposition,
    /// The kind of error, one of a fixed set, for metrics.
    pub cause: &'static str,
    /// What happened and how to fix it, for the operator.
    pub message: String,
}
