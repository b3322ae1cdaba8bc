//! Changes that were read and dropped. A feed that ends before it has read them again hasn't drained.

use super::Feed;
use super::progress::StreamPoint;
use crate::batch::Changes;
use crate::position::{ClusterTime, Position};

/// Changes that were read and dropped without knowing that the lake has them.
#[derive(Clone, Debug)]
pub(super) struct Dropped {
    pub changes: u64,
    /// The last of them, or a point after it.
    until: StreamPoint,
}

impl Dropped {
    /// Whether a stream has sent all of them again that has sent a token, of a change or of its own. Tokens aren't
    /// ordered, and all changes of a transaction have one cluster time, so that only a later one tells.
    fn is_before(&self, token: &str, time: Option<ClusterTime>) -> bool {
        let is_last = matches!(&self.until.position, Position::After(last) if last.as_extended_json() == token);
        is_last || time > self.until.read_until
    }
}

impl Feed {
    /// Notes that these changes, which came and weren't taken, are dropped.
    pub(super) fn note_changes_dropped(&mut self, changes: &Changes) {
        self.note_read_again(changes);
        if let Some(until) = StreamPoint::after_last(changes) {
            self.note_dropped(changes.len() as u64, until);
        }
    }

    /// Notes that all changes are dropped that the feed holds.
    pub(super) fn note_all_dropped(&mut self) {
        let waiting = self
            .stream
            .waiting
            .as_ref()
            .and_then(StreamPoint::after_last);
        let until = waiting.unwrap_or_else(|| self.progress.read().clone());
        self.note_dropped(self.buffered_changes(), until);
    }

    fn note_dropped(&mut self, changes: u64, until: StreamPoint) {
        if changes == 0 {
            return;
        }
        match &mut self.dropped {
            // Not all of the earlier ones were read again, so they reach further. Those that were are counted already.
            Some(known) if known.until.read_until >= until.read_until => {
                known.changes = known.changes.max(changes);
            }
            dropped => *dropped = Some(Dropped { changes, until }),
        }
    }

    /// Notes that changes came.
    pub(super) fn note_read_again(&mut self, changes: &Changes) {
        self.dropped.take_if(|dropped| {
            let mut changes = changes.iter();
            changes.any(|change| dropped.is_before(change.token, Some(change.cluster_time)))
        });
    }

    /// Notes that the stream has sent everything up to a token of its own.
    pub(super) fn note_looked_again(&mut self, token: &str, time: Option<ClusterTime>) {
        self.dropped
            .take_if(|dropped| dropped.is_before(token, time));
    }
}
