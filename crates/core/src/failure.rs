//! What an edge's error means for a feed.

use crate::position::ClusterTime;

/// What to do about an error. Every edge's error enum maps each of its variants to one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Try again after a delay: the network, an election, throttling.
    Retry {
        /// The least delay that the server asked for, in milliseconds.
        after_ms: Option<u64>,
    },
    /// Our view is stale: go back to the checkpoint and the lake's tail.
    Reload,
    /// This feed needs a person; the others go on. It is tried again at the longest delay, which is
    /// safe because nothing is ever skipped.
    Halt,
    /// What was to be read next is gone: a halt, unless the operator asked to go on behind the gap.
    HistoryLost {
        /// Where the oplog begins, if that could be found out.
        oldest: Option<ClusterTime>,
    },
    /// The process can't do its job.
    Exit,
}

impl Disposition {
    /// Try again, as soon as the backoff allows.
    pub const RETRY: Self = Self::Retry { after_ms: None };
}

/// An edge's error as the core sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What to do.
    pub disposition: Disposition,
    /// What it was, in a word of few: for counting.
    pub cause: &'static str,
    /// What happened and what mends it, for a person.
    pub message: String,
}
