//! Snapshots: the documents that were there before the stream.
//!
//! A snapshot is a folder in its collection's: a plan, written before anything is read; parts, which hold
//! the documents and grow by commits as hour files do; a manifest, written when all is there. The lake is
//! its only state: what is still to be read follows from the plan and from the last line of each range's
//! newest part. What the folder is called, what is in it and what comes next is decided here.

pub mod choice;
pub mod folder;
pub mod key;
pub mod manifest;
pub mod part;
pub mod plan;
pub mod progress;
pub mod reply;
pub mod scan;
#[cfg(test)]
mod tests;
pub mod throttle;

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
