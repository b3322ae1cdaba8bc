//! Where a feed takes over what others carried before, so that nothing is lost between them: each checkpoint
//! tells whose changes it has archived, and until when.

use super::{CheckpointError, Checkpoints, FeedId, MANY};
use crate::archive::machine::{Handover, restart_time};
use crate::archive::origin::{Layout, Origin};
use crate::archive::position::{Checkpoint, ClusterTime, Stored};
use crate::archive::selection::{Selection, Watched};

/// A feed's checkpoint among others.
type Other = (FeedId, Stored);

/// Where this feed is to go on, if that isn't where its own checkpoint says: one of a collection behind the
/// feed of many that carried it, one of many at the earliest of those whose collections it gets.
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
        Watched::Collection(origin) => {
            let mut shared = Vec::new();
            for database in [&origin.database, MANY] {
                let feed = FeedId {
                    database: database.to_owned(),
                    collection: MANY.to_owned(),
                };
                let stored = checkpoints.load(&feed).await?;
                shared.extend(stored.map(|stored| (feed, stored)));
            }
            Ok(to_collection(&shared, origin, own))
        }
        Watched::Many { selection, .. } => {
            let selected = own.and_then(|own| own.checkpoint.selection.as_deref());
            if own.is_some() && selected.is_none_or(|selected| selected == selection) {
                return Ok(None);
            }
            Ok(to_many(&checkpoints.list().await?, selection, own))
        }
    }
}

/// A collection's feed goes on behind the feed of many that is furthest. Where it has a checkpoint of its own, only one that
/// speaks of the same files may send it ahead.
fn to_collection(shared: &[Other], origin: &Origin, own: Option<&Stored>) -> Option<Handover> {
    let own_time = own.and_then(|own| restart_time(&own.checkpoint));
    let is_of_these_files = |(feed, stored): &&Other| {
        let by_database = feed.database == MANY;
        own.is_none_or(|own| {
            own.lake == stored.lake
                && by_database == (origin.layout == Layout::DatabaseAndCollection)
        })
    };
    shared
        .iter()
        .filter(is_of_these_files)
        .filter_map(|(feed, stored)| {
            let at = archived_until(&stored.checkpoint, &origin.database, &origin.collection)?;
            let from = feed.to_string();
            Some(Handover { at, from })
        })
        .filter(|handover| Some(handover.at) > own_time)
        .max_by_key(|handover| handover.at)
}

/// A feed of many goes back to the earliest of what it gets.
fn to_many(all: &[Other], selection: &Selection, own: Option<&Stored>) -> Option<Handover> {
    let own_time = own.and_then(|own| restart_time(&own.checkpoint));
    let selected = own.and_then(|own| own.checkpoint.selection.as_deref());
    let is_new = |database: &str, collection: &str| {
        selection.matches(database, collection)
            && !selected.is_some_and(|selected| selected.matches(database, collection))
    };
    let (shared, single): (Vec<&Other>, Vec<&Other>) =
        all.iter().partition(|(feed, _)| feed.collection == MANY);
    let singles = single
        .iter()
        .filter(|(feed, _)| is_new(&feed.database, &feed.collection))
        .filter_map(|(feed, stored)| {
            let own_end = restart_time(&stored.checkpoint);
            // Another one may have carried it since.
            let ends = shared.iter().map(|(_, shared)| {
                archived_until(&shared.checkpoint, &feed.database, &feed.collection)
            });
            let at = ends.flatten().chain(own_end).max()?;
            let from = feed.to_string();
            Some(Handover { at, from })
        });
    let parted = own.map_or(&[][..], |own| &own.checkpoint.parted);
    let is_single = |database: &str, collection: &str| {
        let is_it = |(feed, _): &&Other| feed.database == database && feed.collection == collection;
        single.iter().any(is_it)
    };
    // Those whose feeds never saved anything.
    let parted = parted
        .iter()
        .filter(|it| is_new(&it.database, &it.collection))
        .filter(|it| !is_single(&it.database, &it.collection))
        .map(|it| Handover {
            at: it.until,
            from: format!("{}.{}", it.database, it.collection),
        });
    let wider_or_narrower = shared
        .iter()
        .filter(|(feed, stored)| own.is_none() && overlaps(feed, stored, selection))
        .filter_map(|(feed, stored)| {
            let at = restart_time(&stored.checkpoint)?;
            let from = feed.to_string();
            Some(Handover { at, from })
        });
    singles
        .chain(parted)
        .chain(wider_or_narrower)
        .filter(|handover| own_time.is_none_or(|own_time| handover.at < own_time))
        .min_by_key(|handover| handover.at)
}

/// Until when a feed of many has archived a collection.
fn archived_until(
    checkpoint: &Checkpoint,
    database: &str,
    collection: &str,
) -> Option<ClusterTime> {
    let selection = checkpoint.selection.as_ref()?;
    if selection.matches(database, collection) {
        return restart_time(checkpoint);
    }
    let mut parted = checkpoint.parted.iter();
    let is_it = |it: &&crate::archive::position::Parted| {
        it.database == database && it.collection == collection
    };
    parted.find(is_it).map(|it| it.until)
}

/// Whether a feed of many, of one database or of several, carried some of what is selected.
fn overlaps(feed: &FeedId, stored: &Stored, selection: &Selection) -> bool {
    if feed.database != MANY {
        return selection.databases.matches(&feed.database);
    }
    let selected = stored.checkpoint.selection.as_ref();
    selection.only_database().is_some_and(|database| {
        selected.is_some_and(|selected| selected.databases.matches(database))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::position::{Parted, Position};
    use crate::archive::selection::{Matcher, NameSet};

    fn at(seconds: u32) -> ClusterTime {
        ClusterTime {
            seconds,
            increment: 1,
        }
    }

    fn all() -> NameSet {
        NameSet {
            includes: vec![Matcher::Pattern {
                written: "*".to_owned(),
                regex: regex::Regex::new("^(?s:.*)$").unwrap(),
            }],
            excludes: Vec::new(),
        }
    }

    fn selection(databases: NameSet, apart: &[&str]) -> Selection {
        let namespace = |name: &&str| ("mydb".to_owned(), (*name).to_owned());
        Selection {
            databases,
            collections: all(),
            apart: apart.iter().map(namespace).collect(),
        }
    }

    fn mydb(apart: &[&str]) -> Selection {
        selection(NameSet::of_names(&["mydb"]), apart)
    }

    fn stored(seconds: u32, selection: Option<Selection>) -> Stored {
        let mut checkpoint = Checkpoint::new(Position::At(at(seconds)), "hash");
        checkpoint.selection = selection.map(Box::new);
        Stored {
            checkpoint,
            revision: 1,
            lake: Some("file:///lake".to_owned()),
        }
    }

    fn other(feed: &str, stored: Stored) -> Other {
        (FeedId::parse(feed).unwrap(), stored)
    }

    fn taken(handover: Option<Handover>) -> Option<(u32, String)> {
        handover.map(|it| (it.at.seconds, it.from))
    }

    #[test]
    fn a_collection_goes_on_behind_the_feed_that_carried_it() {
        let users = Origin::new("mydb", "users");
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
        let deep = Origin::laid_out("mydb", "users", Layout::DatabaseAndCollection);
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
    fn it_is_known_of_a_collection_that_left_where_it_stood() {
        let users = Origin::new("mydb", "users");
        let mut shared = stored(90, Some(mydb(&["users"])));
        shared.checkpoint.parted.push(Parted {
            database: "mydb".to_owned(),
            collection: "users".to_owned(),
            until: at(70),
        });
        let from_shared = Some((70, "mydb.*".to_owned()));
        let others = [other("mydb.*", shared.clone())];
        assert_eq!(taken(to_collection(&others, &users, None)), from_shared);
        // Its own feed never saved anything, and it comes back.
        let back = to_many(&others, &mydb(&[]), Some(&shared));
        assert_eq!(taken(back), Some((70, "mydb.users".to_owned())));
        let others = [
            other("mydb.*", shared.clone()),
            other("mydb.users", stored(80, None)),
        ];
        let back = to_many(&others, &mydb(&[]), Some(&shared));
        assert_eq!(taken(back), Some((80, "mydb.users".to_owned())));
    }

    #[test]
    fn a_feed_of_many_goes_back_to_the_earliest_that_it_gets() {
        let singles = [
            other("mydb.users", stored(80, None)),
            other("mydb.orders", stored(60, None)),
            other("crm.users", stored(10, None)),
        ];
        let taken_over =
            |selection: &Selection, own: Option<&Stored>| taken(to_many(&singles, selection, own));
        let from_orders = Some((60, "mydb.orders".to_owned()));
        assert_eq!(taken_over(&mydb(&[]), None), from_orders);
        assert_eq!(
            taken_over(&mydb(&["orders"]), None),
            Some((80, "mydb.users".to_owned()))
        );
        let own = stored(90, Some(mydb(&["users"])));
        assert_eq!(
            taken_over(&mydb(&[]), Some(&own)),
            Some((80, "mydb.users".to_owned()))
        );
        let own = stored(70, Some(mydb(&["users"])));
        assert_eq!(
            taken_over(&mydb(&[]), Some(&own)),
            None,
            "they are further than it is"
        );
        // An old one whose collection a shared stream has carried since.
        let mut with_shared = singles.to_vec();
        with_shared.push(other("mydb.*", stored(85, Some(mydb(&[])))));
        let several = selection(NameSet::of_names(&["mydb", "shop"]), &[]);
        let from_shared = Some(85);
        let handover = to_many(&with_shared, &several, None);
        assert_eq!(handover.map(|it| it.at.seconds), from_shared);
    }

    #[test]
    fn another_number_of_databases_goes_on_where_the_other_stood() {
        let both = selection(NameSet::of_names(&["mydb", "shop"]), &[]);
        let one = [other("mydb.*", stored(70, Some(mydb(&[]))))];
        assert_eq!(
            taken(to_many(&one, &both, None)),
            Some((70, "mydb.*".to_owned()))
        );
        let several = [other("*.*", stored(75, Some(both)))];
        assert_eq!(
            taken(to_many(&several, &mydb(&[]), None)),
            Some((75, "*.*".to_owned()))
        );
        let crm = selection(NameSet::of_names(&["crm"]), &[]);
        assert_eq!(to_many(&several, &crm, None), None, "it has none of it");
    }

    #[test]
    fn a_selection_comes_back_from_a_store() {
        let selection = selection(all(), &["users"]);
        let text = serde_json::to_string(&selection).unwrap();
        assert_eq!(serde_json::from_str::<Selection>(&text).unwrap(), selection);
    }
}
