//! Where the feeds' positions are kept: one trait, two stores.
//!
//! A save names the revision that it replaces, so a position never moves backwards, whoever else
//! writes. `tests/checkpoint_conformance.rs` holds both stores to that.

mod error;
mod gains;
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
use silt_core::namespace::selection::Watched;
use silt_core::position::{Checkpoint, Stored};

/// Names a feed in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedId {
    /// The database that is watched.
    pub database: String,
    /// The collection that is watched.
    pub collection: String,
}

/// The collection of a feed that carries many, and the database of one that carries several of them.
const MANY: &str = "*";

impl FeedId {
    /// The name of the feed that watches this. That of many collections stays the same when others are
    /// selected, so that the feed goes on where it was.
    #[must_use]
    pub fn of(watched: &Watched) -> Self {
        match watched {
            Watched::Collection(namespace) => Self {
                database: namespace.database.clone(),
                collection: namespace.collection.clone(),
            },
            Watched::Many { selection, .. } => Self {
                database: selection.only_database().unwrap_or(MANY).to_owned(),
                collection: MANY.to_owned(),
            },
        }
    }

    /// Reads what [`FeedId`] is written as. A database's name holds no dot.
    fn parse(text: &str) -> Option<Self> {
        let (database, collection) = text.split_once('.')?;
        Some(Self {
            database: database.to_owned(),
            collection: collection.to_owned(),
        })
    }
}

impl fmt::Display for FeedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.database, self.collection)
    }
}

/// What became of the record of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probed {
    /// It was written, read and removed.
    Removed,
    /// It was written and read, and may not be removed, which silt needn't. It stays, under this name.
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
    /// when it returns. Saying the same again after an unknown outcome is safe.
    async fn save(
        &self,
        feed: &FeedId,
        checkpoint: &Checkpoint,
        replaces: u64,
    ) -> Result<(), CheckpointError>;

    /// Shows that the store can be written: saves a record that is no feed's, reads it back and removes it.
    async fn probe(&self) -> Result<Probed, CheckpointError>;
}
