//! What a feed of many gets from others, and where it goes on with it.

use std::collections::BTreeSet;

use super::handover::{Other, archived_until, is_laid_out, standing, time};
use super::{FeedId, MANY};
use silt_core::machine::Handover;
use silt_core::namespace::selection::{Selection, Watched};
use silt_core::namespace::{Layout, Namespace};
use silt_core::position::{Stored, Watermark};

/// A feed of many goes on at the earliest of what it gets.
pub(super) fn to_many(
    mut others: Vec<Other>,
    selection: &Selection,
    layout: Layout,
    own: Option<&Stored>,
) -> Option<Handover> {
    let own_id = FeedId::of(&Watched::Many {
        selection: selection.clone(),
        layout,
    });
    others.retain(|(feed, _)| *feed != own_id);
    let gaining = Gaining {
        others: &others,
        selection,
        layout,
        own_id,
        own,
    };
    gaining.handover()
}

/// A feed of many and those that may have carried its collections.
struct Gaining<'a> {
    others: &'a [Other],
    selection: &'a Selection,
    layout: Layout,
    own_id: FeedId,
    own: Option<&'a Stored>,
}

impl Gaining<'_> {
    fn handover(&self) -> Option<Handover> {
        let own_time = self.own.and_then(time);
        let ends: Vec<Handover> = self
            .names()
            .into_iter()
            .filter_map(|(database, collection)| self.end(database, collection))
            .collect();
        // Patterns mean more than can be listed, of which only the feed itself tells.
        let rest = own_time
            .filter(|_| self.listed().is_none())
            .map(|at| standing(at, &self.own_id));
        let earliest = ends
            .iter()
            .cloned()
            .chain(rest)
            .chain(self.whole_databases())
            .min_by_key(|end| end.at)?;
        let earliest = Handover {
            watermarks: self.watermarks(),
            ..earliest
        };
        let Some(own_time) = own_time.filter(|own_time| *own_time == earliest.at) else {
            return Some(earliest);
        };
        // What others left in the lake behind that may not be in this stream.
        let mut ends = ends.into_iter();
        let ahead = ends.find(|end| end.at > own_time)?;
        Some(Handover {
            at: own_time,
            watermarks: earliest.watermarks,
            ..ahead
        })
    }

    /// Those of one collection each.
    fn single(&self) -> impl Iterator<Item = &Other> {
        let others = self.others.iter();
        others.filter(|(feed, _)| feed.collection != MANY)
    }

    fn own_selection(&self) -> Option<&Selection> {
        self.own?.checkpoint.selection.as_deref()
    }

    /// All that is selected, if it is by names alone.
    fn listed(&self) -> Option<BTreeSet<(&str, &str)>> {
        let databases = self.selection.databases.names()?;
        let collections = self.selection.collections.names()?;
        let all = databases
            .into_iter()
            .flat_map(|database| collections.iter().map(move |name| (database, *name)));
        Some(self.selected(all))
    }

    /// The collections that can be named: listed, with a feed of their own, or gone from this one.
    fn names(&self) -> BTreeSet<(&str, &str)> {
        let single = self
            .single()
            .map(|(feed, _)| (&*feed.database, &*feed.collection));
        let departed = self
            .own
            .map_or(&[][..], |own| &own.checkpoint.departed)
            .iter();
        let departed = departed.map(|it| (&*it.database, &*it.collection));
        let known = self.selected(single.chain(departed));
        self.listed().into_iter().flatten().chain(known).collect()
    }

    fn selected<'n>(
        &self,
        names: impl Iterator<Item = (&'n str, &'n str)>,
    ) -> BTreeSet<(&'n str, &'n str)> {
        names
            .filter(|(database, collection)| self.selection.matches(database, collection))
            .collect()
    }

    /// Until when a collection is in the lake, by whoever carried it last.
    fn end(&self, database: &str, collection: &str) -> Option<Handover> {
        let namespace = Namespace::with_layout(database, collection, self.layout);
        let has_it = self
            .own_selection()
            .is_some_and(|selected| selected.matches(database, collection));
        let own = self.own.and_then(|own| {
            let at = archived_until(&own.checkpoint, database, collection)?;
            Some(standing(at, &self.own_id))
        });
        // Ahead of where it stands itself, only what is in the same files counts.
        let is_of_these_files = |(feed, stored): &&Other| {
            let is_same_lake = self.own.is_some_and(|own| own.lake == stored.lake);
            !has_it || (is_same_lake && is_laid_out(feed, stored, &namespace))
        };
        let others = self.others.iter().filter(is_of_these_files);
        let others = others.filter_map(|(feed, stored)| {
            let at = if feed.collection == MANY {
                archived_until(&stored.checkpoint, database, collection)
            } else if feed.database == database && feed.collection == collection {
                time(stored)
            } else {
                None
            };
            Some(standing(at?, feed))
        });
        let from = format!("{database}.{collection}");
        let latest = own.into_iter().chain(others).max_by_key(|end| end.at)?;
        Some(Handover { from, ..latest })
    }

    /// What single feeds brought into the files that are this feed's now.
    fn watermarks(&self) -> Vec<Watermark> {
        let gained = self.single().filter(|(feed, stored)| {
            let namespace = Namespace::with_layout(&feed.database, &feed.collection, self.layout);
            self.selection.matches(&feed.database, &feed.collection)
                && self.own.is_none_or(|own| own.lake == stored.lake)
                && is_laid_out(feed, stored, &namespace)
        });
        let watermarks = gained.filter_map(|(feed, stored)| {
            Some(Watermark {
                database: feed.database.clone(),
                collection: feed.collection.clone(),
                last_change: stored.checkpoint.last_change.clone()?,
                is_after_position: false,
            })
        });
        watermarks.collect()
    }

    /// Feeds of many whose databases are new to this one, or overlap with it if it never saved anything.
    fn whole_databases(&self) -> impl Iterator<Item = Handover> {
        let shared = self
            .others
            .iter()
            .filter(|(feed, _)| feed.collection == MANY);
        let is_new = |(feed, stored): &&Other| match self.own_selection() {
            None => overlaps(feed, stored, self.selection),
            Some(selected) => {
                feed.database != MANY
                    && self.selection.databases.matches(&feed.database)
                    && !selected.databases.matches(&feed.database)
            }
        };
        let has_patterns = self.listed().is_none();
        let new = shared.filter(move |it| has_patterns && is_new(it));
        new.filter_map(|(feed, stored)| Some(standing(time(stored)?, feed)))
    }
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
    use super::super::handover::tests::{all, at, mydb, other, selection, stored, taken};
    use super::super::handover::to_collection;
    use super::*;
    use silt_core::namespace::selection::NameSet;
    use silt_core::position::Departure;

    fn to_many(all: &[Other], selection: &Selection, own: Option<&Stored>) -> Option<Handover> {
        let layout = match selection.only_database() {
            Some(_) => Layout::Collection,
            None => Layout::DatabaseAndCollection,
        };
        super::to_many(all.to_vec(), selection, layout, own)
    }

    #[test]
    fn it_is_known_of_a_collection_that_left_where_it_stood() {
        let users = Namespace::new("mydb", "users");
        let mut shared = stored(90, Some(mydb(&["users"])));
        shared.checkpoint.departed.push(Departure {
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
            Some((70, "mydb.users".to_owned())),
            "they are further than it is, by other filters perhaps"
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
    fn it_goes_on_behind_what_single_ones_have_carried_since() {
        let names = Selection {
            collections: NameSet::of_names(&["users", "orders"]),
            ..mydb(&[])
        };
        let own = stored(10, Some(names.clone()));
        let single = |name: &str, seconds: u32| {
            let mut stored = stored(seconds, None);
            stored.checkpoint.folder = Some(name.to_owned());
            other(&format!("mydb.{name}"), stored)
        };
        let singles = [single("users", 40), single("orders", 30)];
        let behind = to_many(&singles, &names, Some(&own)).unwrap();
        assert_eq!(behind.at, at(30));
        let first = to_many(&singles, &names, None).unwrap();
        assert_eq!(first.at, at(30));
        let one = [single("users", 40)];
        let with_filters = taken(to_many(&one, &names, Some(&own)));
        assert_eq!(with_filters, Some((10, "mydb.users".to_owned())));
        let everything = stored(10, Some(mydb(&[])));
        let with_filters = to_many(&singles, &mydb(&[]), Some(&everything));
        assert_eq!(with_filters.map(|it| it.at), Some(at(10)), "who knows");
        let later = stored(50, Some(names.clone()));
        assert_eq!(to_many(&singles, &names, Some(&later)), None);
        for elsewhere in [Some("file:///other"), None] {
            let mut own = own.clone();
            own.lake = elsewhere.map(str::to_owned);
            assert_eq!(to_many(&singles, &names, Some(&own)), None, "other files");
        }
    }

    #[test]
    fn a_database_that_another_feed_of_many_carried_goes_on_where_that_stood() {
        let databases = |names: &[&str]| selection(NameSet::of_names(names), &[]);
        let own = stored(90, Some(databases(&["mydb", "shop"])));
        let crm = other("crm.*", stored(60, Some(databases(&["crm"]))));
        let three = databases(&["mydb", "shop", "crm"]);
        let back = to_many(std::slice::from_ref(&crm), &three, Some(&own));
        assert_eq!(taken(back), Some((60, "crm.*".to_owned())));
        let had_it = stored(90, Some(three.clone()));
        assert_eq!(to_many(&[crm], &three, Some(&had_it)), None);
    }

    #[test]
    fn a_selection_comes_back_from_a_store() {
        let selection = selection(all(), &["users"]);
        let text = serde_json::to_string(&selection).unwrap();
        assert_eq!(serde_json::from_str::<Selection>(&text).unwrap(), selection);
    }
}
