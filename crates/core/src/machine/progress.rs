//! How far a feed has read, and how far all of that is in the lake.

use std::collections::BTreeMap;

use super::LaneId;
use crate::batch::{Change, Changes};
use crate::position::{ClusterTime, Position, ResumeToken};

/// A point between two changes of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StreamPoint {
    /// Where a stream can be opened.
    pub position: Position,
    /// All changes of an earlier cluster time are before it, if that is known.
    pub read_until: Option<ClusterTime>,
}

impl StreamPoint {
    pub fn at(time: ClusterTime) -> Self {
        Self {
            position: Position::At(time),
            read_until: Some(time),
        }
    }

    pub fn after(change: &Change<'_>) -> Self {
        Self {
            position: Position::After(ResumeToken::from_canonical(change.token)),
            read_until: Some(change.cluster_time),
        }
    }

    pub fn after_last(changes: &Changes) -> Option<Self> {
        changes.iter().last().map(|change| Self::after(&change))
    }
}

/// How far the stream has been read. Its changes are numbered. Those of several collections reach the lake in
/// another order than they are read in: the position that may be saved is the one before the oldest batch that the
/// lake isn't known to have.
#[derive(Debug)]
pub(super) struct Progress {
    read: StreamPoint,
    changes: u64,
    /// The batches that aren't in the lake: the number of the first change and the lane, and the point before
    /// that change. Two lanes can begin with one change: a rename belongs to the old name and to the new one.
    open: BTreeMap<(u64, LaneId), StreamPoint>,
}

impl Progress {
    pub fn from(read: StreamPoint) -> Self {
        Self {
            read,
            changes: 0,
            open: BTreeMap::new(),
        }
    }

    /// Everything that was read is before this point.
    pub fn read(&self) -> &StreamPoint {
        &self.read
    }

    pub fn set_read(&mut self, read: StreamPoint) {
        self.read = read;
    }

    /// Everything before this point is in the lake.
    pub fn safe(&self) -> &StreamPoint {
        let oldest = self.open.first_key_value();
        oldest.map_or(&self.read, |(_, before)| before)
    }

    /// The number of the next change.
    pub fn count(&mut self) -> u64 {
        self.changes += 1;
        self.changes
    }

    /// A batch begins with this change.
    pub fn begin(&mut self, number: u64, lane: LaneId, before: StreamPoint) {
        self.open.insert((number, lane), before);
    }

    /// The lake has the lane's batch that began with this change.
    pub fn end(&mut self, number: u64, lane: LaneId) {
        self.open.remove(&(number, lane));
    }

    /// No batch is left: each is in the lake, or will be read again.
    pub fn clear(&mut self) {
        self.open.clear();
    }

    /// The oldest batch that the lake isn't known to have: its lane, and how many changes were read since it
    /// began.
    pub fn oldest(&self) -> Option<(LaneId, u64)> {
        let ((number, lane), _) = self.open.first_key_value()?;
        Some((*lane, self.changes - number))
    }

    /// Whether a change that the lake has is after the position that may be saved. It has the number of the oldest
    /// batch if that belongs to the other lane of the same change.
    pub fn is_after_safe(&self, number: u64) -> bool {
        let oldest = self.open.first_key_value();
        oldest.is_some_and(|((oldest, _), _)| number >= *oldest)
    }
}
