//! Where a feed takes over what others carried before, so that nothing is lost between them: each checkpoint
//! tells whose changes it has archived, and until when.

use super::gains::to_many;
use super::{CheckpointError, Checkpoints, FeedId, MANY};
use silt_core::machine::{Handover, restart_time};
use silt_core::namespace::selection::Watched;
use silt_core::namespace::{Layout, Namespace};
use silt_core::position::{Checkpoint, ClusterTime, Stored};

/// A feed's checkpoint among others.
pub(super) type Other = (FeedId, Stored);

/// Where this feed is to go on, if that isn't where its own checkpoint says: one of a collection behind the
/// feed of many that carried it, one of many at the earliest of those whose collections it gets, and further on
/// if others have carried all of its collections since.
///
/// # Errors
///
/// The store can't be read.
pub async fn handover(
    checkpoints: &dyn Checkpoints,
    watched: &Watched,
    own: Option<&Stored>,
) -> Result<Option<Handover>, CheckpointError> {
    match watched {
        Watched::Collection(namespace) => {
            let mut shared = Vec::new();
            for database in [&namespace.database, MANY] {
                let feed = FeedId {
                    database: database.to_owned(),
                    collection: MANY.to_owned(),
                };
                let stored = checkpoints.load(&feed).await?;
                shared.extend(stored.map(|stored| (feed, stored)));
            }
            Ok(to_collection(&shared, namespace, own))
        }
        Watched::Many { selection, layout } => {
            // An older silt didn't say what it carried.
            if own.is_some_and(|own| own.checkpoint.selection.is_none()) {
                return Ok(None);
            }
            let all = checkpoints.list().await?;
            Ok(to_many(all, selection, *layout, own))
        }
    }
}

/// A collection's feed goes on behind the feed of many that is furthest. Where it has a checkpoint of its own, only one that
/// speaks of the same files may send it ahead.
pub(super) fn to_collection(
    shared: &[Other],
    namespace: &Namespace,
    own: Option<&Stored>,
) -> Option<Handover> {
    let own_time = own.and_then(time);
    let is_of_these_files = |(feed, stored): &&Other| {
        own.is_none_or(|own| own.lake == stored.lake && is_laid_out(feed, stored, namespace))
    };
    shared
        .iter()
        .filter(is_of_these_files)
        .filter_map(|(feed, stored)| {
            let at = archived_until(
                &stored.checkpoint,
                &namespace.database,
                &namespace.collection,
            )?;
            let watermarks = stored.checkpoint.collections.iter().filter(|watermark| {
                watermark.database == namespace.database
                    && watermark.collection == namespace.collection
                    && is_laid_out(feed, stored, namespace)
            });
            Some(Handover {
                watermarks: watermarks.cloned().collect(),
                ..standing(at, feed)
            })
        })
        .filter(|handover| Some(handover.at) > own_time)
        .max_by_key(|handover| handover.at)
}

pub(super) fn time(stored: &Stored) -> Option<ClusterTime> {
    restart_time(&stored.checkpoint)
}

pub(super) fn standing(at: ClusterTime, feed: &FeedId) -> Handover {
    Handover {
        at,
        from: feed.to_string(),
        watermarks: Vec::new(),
    }
}

/// Whether a feed wrote a collection's files where this one does.
pub(super) fn is_laid_out(feed: &FeedId, stored: &Stored, namespace: &Namespace) -> bool {
    if feed.collection == MANY {
        let by_database = feed.database == MANY;
        return by_database == (namespace.layout == Layout::DatabaseAndCollection);
    }
    stored.checkpoint.folder.as_deref() == Some(&*namespace.folder())
}

/// Until when a feed of many has archived a collection.
pub(super) fn archived_until(
    checkpoint: &Checkpoint,
    database: &str,
    collection: &str,
) -> Option<ClusterTime> {
    let selection = checkpoint.selection.as_ref()?;
    if selection.matches(database, collection) {
        return restart_time(checkpoint);
    }
    let mut departed = checkpoint.departed.iter();
    let is_it = |it: &&silt_core::position::Departure| {
        it.database == database && it.collection == collection
    };
    departed.find(is_it).map(|it| it.until)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use silt_core::namespace::selection::{Matcher, NameSet, Selection};
    use silt_core::position::{LastChange, Position, ResumeToken, Watermark};

    pub(in super::super) fn at(seconds: u32) -> ClusterTime {
        ClusterTime {
            seconds,
            increment: 1,
        }
    }

    pub(in super::super) fn all() -> NameSet {
        NameSet {
            includes: vec![Matcher::Pattern {
                written: "*".to_owned(),
                regex: regex::Regex::new("^(?s:.*)$").unwrap(),
            }],
            excludes: Vec::new(),
        }
    }

    pub(in super::super) fn selection(databases: NameSet, apart: &[&str]) -> Selection {
        let namespace = |name: &&str| ("mydb".to_owned(), (*name).to_owned());
        Selection {
            databases,
            collections: all(),
            apart: apart.iter().map(namespace).collect(),
        }
    }

    pub(in super::super) fn mydb(apart: &[&str]) -> Selection {
        selection(NameSet::of_names(&["mydb"]), apart)
    }

    pub(in super::super) fn stored(seconds: u32, selection: Option<Selection>) -> Stored {
        let mut checkpoint = Checkpoint::new(Position::At(at(seconds)), "hash");
        checkpoint.selection = selection.map(Box::new);
        Stored {
            checkpoint,
            revision: 1,
            lake: Some("file:///lake".to_owned()),
        }
    }

    pub(in super::super) fn other(feed: &str, stored: Stored) -> Other {
        (FeedId::parse(feed).unwrap(), stored)
    }

    pub(in super::super) fn taken(handover: Option<Handover>) -> Option<(u32, String)> {
        handover.map(|it| (it.at.seconds, it.from))
    }

    #[test]
    fn a_collection_goes_on_behind_the_feed_that_carried_it() {
        let users = Namespace::new("mydb", "users");
        let shared = [other("mydb.*", stored(70, Some(mydb(&[]))))];
        let from_shared = Some((70, "mydb.*".to_owned()));
        assert_eq!(taken(to_collection(&shared, &users, None)), from_shared);
        let before = stored(50, None);
        assert_eq!(
            taken(to_collection(&shared, &users, Some(&before))),
            from_shared
        );
        let later = stored(90, None);
        assert_eq!(to_collection(&shared, &users, Some(&later)), None);
        let elsewhere = Stored {
            lake: Some("file:///other".to_owned()),
            ..before.clone()
        };
        assert_eq!(
            to_collection(&shared, &users, Some(&elsewhere)),
            None,
            "other files"
        );
        let deep = Namespace::with_layout("mydb", "users", Layout::DatabaseAndCollection);
        assert_eq!(
            to_collection(&shared, &deep, Some(&before)),
            None,
            "other folders"
        );
        assert_eq!(
            taken(to_collection(&shared, &deep, None)),
            from_shared,
            "better than now"
        );
        let without = [other("mydb.*", stored(70, Some(mydb(&["users"]))))];
        assert_eq!(
            to_collection(&without, &users, None),
            None,
            "it never had it"
        );
    }

    #[test]
    fn a_collection_learns_what_the_lake_should_have_of_it() {
        let users = Namespace::new("mydb", "users");
        let mut shared = stored(70, Some(mydb(&[])));
        let watermark = |collection: &str| Watermark {
            database: "mydb".to_owned(),
            collection: collection.to_owned(),
            last_change: LastChange {
                token: ResumeToken::from_canonical(r#"{"_data":"82AB"}"#),
                cluster_time: at(65),
            },
            is_after_position: false,
        };
        shared.checkpoint.collections = vec![watermark("orders"), watermark("users")];
        let others = [other("mydb.*", shared)];
        let watermarks =
            |namespace: &Namespace| to_collection(&others, namespace, None).unwrap().watermarks;
        assert_eq!(watermarks(&users), [watermark("users")]);
        let deep = Namespace::with_layout("mydb", "users", Layout::DatabaseAndCollection);
        assert_eq!(watermarks(&deep), [], "it is about other files");
    }
}
