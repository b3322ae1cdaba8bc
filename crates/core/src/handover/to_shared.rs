//! To a shared stream.

use std::collections::BTreeSet;

use super::{Handover, Other, archived_until, is_laid_out};
use crate::feed_id::{FeedId, MANY};
use crate::namespace::selection::{Selection, Watched};
use crate::namespace::{Layout, Namespace};
use crate::position::{ClusterTime, Stored, Watermark};

/// A shared stream resumes at the earliest position among the collections that it takes over.
pub(super) fn handover(
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

/// A shared stream, and the feeds that may have carried its collections.
struct Gaining<'a> {
    others: &'a [Other],
    selection: &'a Selection,
    layout: Layout,
    own_id: FeedId,
    own: Option<&'a Stored>,
}

impl Gaining<'_> {
    fn handover(&self) -> Option<Handover> {
        let own_time = self.own.and_then(restart_time);
        let ends: Vec<Handover> = self
            .names()
            .into_iter()
            .filter_map(|(database, collection)| self.end(database, collection))
            .collect();
        // Patterns match more than can be listed, of which only the feed's own checkpoint says where it is.
        let rest = own_time
            .filter(|_| self.listed().is_none())
            .map(|at| Handover::at(at, &self.own_id));
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
        // It resumes at its own position, but later changes that others left in the lake may not be in its stream.
        let mut ends = ends.into_iter();
        let later = ends.find(|end| end.at > own_time)?;
        Some(Handover {
            at: own_time,
            watermarks: earliest.watermarks,
            ..later
        })
    }

    /// The feeds of one collection each.
    fn single(&self) -> impl Iterator<Item = &Other> {
        let others = self.others.iter();
        others.filter(|(feed, _)| !feed.is_shared())
    }

    fn own_selection(&self) -> Option<&Selection> {
        self.own?.checkpoint.selection.as_deref()
    }

    /// All selected collections, if they are selected by name.
    fn listed(&self) -> Option<BTreeSet<(&str, &str)>> {
        let databases = self.selection.databases.names()?;
        let collections = self.selection.collections.names()?;
        let all = databases
            .into_iter()
            .flat_map(|database| collections.iter().map(move |name| (database, *name)));
        Some(self.selected(all))
    }

    /// The collections whose names are known: selected by name, with a feed of their own, or departed from this feed.
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

    /// Until when a collection is archived, by the feed that carried it last.
    fn end(&self, database: &str, collection: &str) -> Option<Handover> {
        let namespace = Namespace::with_layout(database, collection, self.layout);
        let has_it = self
            .own_selection()
            .is_some_and(|selected| selected.matches(database, collection));
        let own = self.own.and_then(|own| {
            let at = archived_until(&own.checkpoint, database, collection)?;
            Some(Handover::at(at, &self.own_id))
        });
        // After its own position, only changes in the same files count.
        let is_of_these_files = |(feed, stored): &&Other| {
            let is_same_lake = self.own.is_some_and(|own| own.lake == stored.lake);
            !has_it || (is_same_lake && is_laid_out(feed, stored, &namespace))
        };
        let others = self.others.iter().filter(is_of_these_files);
        let others = others.filter_map(|(feed, stored)| {
            let at = if feed.is_shared() {
                archived_until(&stored.checkpoint, database, collection)
            } else if feed.database == database && feed.collection == collection {
                restart_time(stored)
            } else {
                None
            };
            Some(Handover::at(at?, feed))
        });
        let from = format!("{database}.{collection}");
        let latest = own.into_iter().chain(others).max_by_key(|end| end.at)?;
        Some(Handover { from, ..latest })
    }

    /// The watermarks of single feeds that wrote to the files of this one.
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
                last_change: own_watermark(feed, stored)?.last_change.clone(),
                is_after_position: false,
            })
        });
        watermarks.collect()
    }

    /// Shared streams whose databases are new to this one, or overlap with it if it has no checkpoint.
    fn whole_databases(&self) -> impl Iterator<Item = Handover> {
        let shared = self.others.iter().filter(|(feed, _)| feed.is_shared());
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
        new.filter_map(|(feed, stored)| Some(Handover::at(restart_time(stored)?, feed)))
    }
}

fn restart_time(stored: &Stored) -> Option<ClusterTime> {
    stored.checkpoint.restart_time()
}

/// The watermark of a feed of one collection.
fn own_watermark<'a>(feed: &FeedId, stored: &'a Stored) -> Option<&'a Watermark> {
    let mut watermarks = stored.checkpoint.collections.iter();
    watermarks.find(|it| it.database == feed.database && it.collection == feed.collection)
}

/// Whether a shared stream, over one database or several, carried some of the selected collections.
fn overlaps(feed: &FeedId, stored: &Stored, selection: &Selection) -> bool {
    if feed.database != MANY {
        return selection.databases.matches(&feed.database);
    }
    let selected = stored.checkpoint.selection.as_ref();
    selection.only_database().is_some_and(|database| {
        selected.is_some_and(|selected| selected.databases.matches(database))
    })
}
