//! Where a feed takes over collections that other feeds carried before, so that nothing is lost in between: each
//! checkpoint says which collections its feed has archived, and until when.

#[cfg(test)]
mod tests;
mod to_collection;
mod to_shared;

use crate::feed_id::{FeedId, MANY};
use crate::namespace::selection::Watched;
use crate::namespace::{Layout, Namespace};
use crate::position::{Checkpoint, ClusterTime, Stored, Watermark};

/// Where a feed takes over collections that other feeds carried before: after what those have archived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// The changes of an earlier cluster time are in the lake.
    pub at: ClusterTime,
    /// The feed whose checkpoint says so.
    pub from: String,
    /// The last changes that other feeds have committed to the same files, as far as they know.
    pub watermarks: Vec<Watermark>,
}

impl Handover {
    /// At a feed's position.
    fn at(at: ClusterTime, feed: &FeedId) -> Self {
        Self {
            at,
            from: feed.to_string(),
            watermarks: Vec::new(),
        }
    }
}

/// The checkpoint of another feed.
pub type Other = (FeedId, Stored);

/// The feeds that may have carried a feed's collections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Candidates {
    /// None.
    None,
    /// These.
    Feeds(Vec<FeedId>),
    /// All that have a checkpoint.
    All,
}

impl Candidates {
    /// Those of a feed with this checkpoint.
    #[must_use]
    pub fn of(watched: &Watched, own: Option<&Stored>) -> Self {
        match watched {
            Watched::Collection(namespace) => Self::Feeds(vec![
                FeedId::shared(&namespace.database),
                FeedId::shared(MANY),
            ]),
            // Older versions of silt didn't save what a shared stream selects.
            Watched::Many { .. } if own.is_some_and(|own| own.checkpoint.selection.is_none()) => {
                Self::None
            }
            Watched::Many { .. } => Self::All,
        }
    }
}

/// Where a feed is to resume, unless that is where its own checkpoint says.
///
/// The feed of one collection resumes after the shared stream that carried it. A shared stream resumes at the
/// earliest position among the collections that it takes over, or further on if other feeds have carried all of
/// its collections since. `others` are the checkpoints of its [`Candidates`].
#[must_use]
pub fn handover(watched: &Watched, own: Option<&Stored>, others: Vec<Other>) -> Option<Handover> {
    match watched {
        Watched::Collection(namespace) => to_collection::handover(&others, namespace, own),
        Watched::Many { selection, layout } => to_shared::handover(others, selection, *layout, own),
    }
}

/// Whether a feed wrote a collection's files to the folder of this namespace.
fn is_laid_out(feed: &FeedId, stored: &Stored, namespace: &Namespace) -> bool {
    if feed.is_shared() {
        let is_by_database = feed.database == MANY;
        return is_by_database == (namespace.layout == Layout::DatabaseAndCollection);
    }
    stored.checkpoint.folder.as_deref() == Some(&*namespace.folder())
}

/// Until when a shared stream has archived a collection.
fn archived_until(
    checkpoint: &Checkpoint,
    database: &str,
    collection: &str,
) -> Option<ClusterTime> {
    let selection = checkpoint.selection.as_ref()?;
    if selection.matches(database, collection) {
        return checkpoint.restart_time();
    }
    let mut departed = checkpoint.departed.iter();
    departed
        .find(|it| it.database == database && it.collection == collection)
        .map(|it| it.until)
}
