//! The name of a feed among the checkpoints.

use std::fmt;

use crate::namespace::selection::Watched;

/// Identifies a feed in a checkpoint store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedId {
    /// The database that is watched; `*` for a shared stream over several databases.
    pub database: String,
    /// The collection that is watched; `*` for a shared stream.
    pub collection: String,
}

/// The collection of a shared stream, and the database of one over several databases.
pub(crate) const MANY: &str = "*";

impl FeedId {
    /// The id of the feed that watches this. That of a shared stream stays the same when another selection is
    /// configured, so that the feed resumes where it was.
    #[must_use]
    pub fn of(watched: &Watched) -> Self {
        match watched {
            Watched::Collection(namespace) => Self {
                database: namespace.database.clone(),
                collection: namespace.collection.clone(),
            },
            Watched::Many { selection, .. } => {
                Self::shared(selection.only_database().unwrap_or(MANY))
            }
        }
    }

    /// The id of the shared stream over a database.
    pub(crate) fn shared(database: &str) -> Self {
        Self {
            database: database.to_owned(),
            collection: MANY.to_owned(),
        }
    }

    /// Whether the feed has a shared stream.
    pub(crate) fn is_shared(&self) -> bool {
        self.collection == MANY
    }

    /// Parses what [`FeedId`] is displayed as. A database's name contains no dot.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
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
