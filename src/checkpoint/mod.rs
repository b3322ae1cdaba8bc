//! Checkpoint stores: one trait, two implementations.
//!
//! A save names the revision that it replaces, so a position never moves backwards, even if several processes
//! write. `tests/checkpoint_conformance.rs` runs one suite against both stores.

mod error;
mod handover;
mod lake;
mod mongodb;
mod record;

use std::fmt;

use async_trait::async_trait;

pub use error::CheckpointError;
pub use handover::handover;
pub use lake::LakeCheckpoints;
pub use mongodb::MongoCheckpoints;
pub use silt_core::feed_id::FeedId;
use silt_core::position::{Checkpoint, Stored};

/// The result of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probed {
    /// It was written, read and removed.
    Removed,
    /// It was written and read, but may not be removed, which silt doesn't need. It remains, under this name.
    Stays(String),
}

/// A store of checkpoints.
#[async_trait]
pub trait Checkpoints: Send + Sync + fmt::Debug {
    /// The feed's checkpoint, if it has one.
    async fn load(&self, feed: &FeedId) -> Result<Option<Stored>, CheckpointError>;

    /// All checkpoints, in no order.
    async fn list(&self) -> Result<Vec<(FeedId, Stored)>, CheckpointError>;

    /// Saves a checkpoint in place of this revision (0: there is none yet) as the next one. Durable
    /// when it returns. Repeating the same save after an unknown outcome is safe.
    async fn save(
        &self,
        feed: &FeedId,
        checkpoint: &Checkpoint,
        replaces: u64,
    ) -> Result<(), CheckpointError>;

    /// Checks that the store can be written: saves a record that belongs to no feed, reads it back and removes it.
    async fn probe(&self) -> Result<Probed, CheckpointError>;
}
