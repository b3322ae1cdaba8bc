//! Snapshots: the documents that existed before the stream began.
//!
//! A snapshot is a folder within the folder of its collection. It contains a plan, written before anything is
//! read; parts, which hold the documents and grow by commits like hour files; and a manifest, written when all
//! documents are there. The lake is its only state: what is still to be read follows from the plan and from the
//! last line of the newest part of each range. This module decides names, contents and the next step.

pub mod decision;
pub mod folder;
pub mod key;
pub mod manifest;
pub mod part;
pub mod part_scan;
pub mod plan;
pub mod progress;
pub mod reply_size;
#[cfg(test)]
mod tests;

/// When a snapshot is taken of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotMode {
    /// Never.
    Never,
    /// Once: if the lake holds no finished snapshot of it.
    Initial,
    /// Like `Initial`, and again after each gap that the lake has a record of.
    WhenLost,
}
