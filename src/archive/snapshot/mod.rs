//! Snapshots: the documents that were there before the stream.

/// When a snapshot is taken of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotMode {
    /// Never.
    Never,
    /// Once: when the lake holds no finished snapshot of it.
    Initial,
    /// The same, and again behind each gap that the lake has a record of.
    WhenLost,
}
