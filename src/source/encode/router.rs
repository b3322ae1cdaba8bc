//! Finds the collection of each event of a stream over several collections.

use std::collections::HashMap;

use bson::RawDocument;

use silt_core::batch::Changes;
use silt_core::namespace::selection::{Selection, Watched};
use silt_core::namespace::{Layout, Namespace};

/// Finds the collection of an event.
#[derive(Debug)]
pub(in crate::source) struct Router {
    selection: Selection,
    layout: Layout,
    /// The stream's database, if it has only one.
    database: String,
}

impl Router {
    /// The router of a stream; `None` if the stream has only one collection.
    pub(in crate::source) fn of(watched: &Watched) -> Option<Self> {
        match watched {
            Watched::Collection(_) => None,
            Watched::Many { selection, layout } => Some(Self::new(selection.clone(), *layout)),
        }
    }

    /// The router of a stream over several collections.
    pub(in crate::source) fn new(selection: Selection, layout: Layout) -> Self {
        Self {
            database: selection.only_database().unwrap_or_default().to_owned(),
            selection,
            layout,
        }
    }

    /// Database and collection of an event. An event of a whole database has no collection.
    pub(in crate::source) fn namespace<'a>(&'a self, event: &'a RawDocument) -> (&'a str, &'a str) {
        let named = |field| {
            event
                .get_document(field)
                .ok()
                .map(|named| self.names(named))
        };
        let namespace = named("ns").unwrap_or((&self.database, ""));
        // A rename belongs to the old name, unless only the new one is watched.
        match named("to") {
            Some(new) if !self.selection.matches(namespace.0, namespace.1) => new,
            _ => namespace,
        }
    }

    /// An event's collection.
    pub(in crate::source) fn origin(&self, event: &RawDocument) -> Namespace {
        let (database, collection) = self.namespace(event);
        Namespace::with_layout(database, collection, self.layout)
    }

    fn names<'a>(&'a self, namespace: &'a RawDocument) -> (&'a str, &'a str) {
        let database = namespace.get_str("db").unwrap_or(&self.database);
        (database, namespace.get_str("coll").unwrap_or_default())
    }
}

/// Finds each event's slot: the index of its collection among the origins of one parcel's changes.
#[derive(Debug)]
pub(in crate::source) struct Slots<'a> {
    router: &'a Router,
    known: HashMap<(&'a str, &'a str), usize>,
    /// The namespace of the last event, and its slot: changes of one collection often come together.
    last: Option<((&'a str, &'a str), usize)>,
}

impl<'a> Slots<'a> {
    pub(in crate::source) fn new(router: &'a Router) -> Self {
        Self {
            router,
            known: HashMap::new(),
            last: None,
        }
    }

    /// The slot of an event's collection, which is added if it is new.
    pub(in crate::source) fn of(&mut self, event: &'a RawDocument, changes: &mut Changes) -> usize {
        let namespace = event.get_document("ns").map(|ns| self.router.names(ns));
        // Every known name is watched, except that of a whole database.
        if let Ok(namespace) = namespace {
            if let Some((last, slot)) = self.last
                && last == namespace
            {
                return slot;
            }
            if let Some(slot) = self.known.get(&namespace) {
                self.last = Some((namespace, *slot));
                return *slot;
            }
        }
        let namespace = self.router.namespace(event);
        let add = || {
            let (database, collection) = namespace;
            changes.add_namespace(Namespace::with_layout(
                database,
                collection,
                self.router.layout,
            ))
        };
        *self.known.entry(namespace).or_insert_with(add)
    }
}

#[cfg(test)]
mod tests {
    use bson::{Document, RawDocumentBuf, doc};
    use proptest::prelude::*;

    use super::*;
    use silt_core::namespace::selection::NameSet;
    use silt_core::position::ClusterTime;

    fn router(databases: &[&str]) -> Router {
        let watched = Watched::Many {
            selection: Selection {
                databases: NameSet::of_names(databases),
                collections: NameSet::of_names(&["users", "orders"]),
                apart: vec![("b".to_owned(), "orders".to_owned())],
            },
            layout: Layout::DatabaseAndCollection,
        };
        Router::of(&watched).unwrap()
    }

    fn raw(event: &Document) -> RawDocumentBuf {
        RawDocumentBuf::try_from(event).unwrap()
    }

    fn renamed(from: (&str, &str), to: (&str, &str)) -> Document {
        doc! {
            "operationType": "rename",
            "ns": { "db": from.0, "coll": from.1 }, "to": { "db": to.0, "coll": to.1 },
        }
    }

    #[test]
    fn events_belong_to_their_namespace_and_renames_to_the_watched_one() {
        let router = router(&["a", "b"]);
        for (event, origin) in [
            (doc! { "ns": { "db": "a", "coll": "users" } }, "a.users"),
            (
                doc! { "ns": { "db": "b" }, "operationType": "dropDatabase" },
                "b",
            ),
            (renamed(("a", "users"), ("a", "orders")), "a.users"),
            (renamed(("a", "users"), ("a", "old")), "a.users"),
            (renamed(("a", "new"), ("a", "orders")), "a.orders"),
            (renamed(("b", "orders"), ("b", "users")), "b.users"),
        ] {
            let origin_of = router.origin(&raw(&event));
            assert_eq!(origin_of.to_string(), origin, "{event}");
            assert_eq!(origin_of.layout, Layout::DatabaseAndCollection);
        }
    }

    #[test]
    fn an_event_without_namespace_belongs_to_the_streams_database() {
        let invalidate = raw(&doc! { "operationType": "invalidate" });
        assert_eq!(router(&["a"]).origin(&invalidate).to_string(), "a");
        assert_eq!(router(&["a", "b"]).origin(&invalidate).to_string(), "");
    }

    /// Events of a stream over two databases, in any order.
    fn event() -> impl Strategy<Value = Document> {
        let namespace =
            || prop::sample::select(vec![("a", "users"), ("a", "orders"), ("b", "users")]);
        let unwatched = prop::sample::select(vec![("a", "new"), ("b", "orders"), ("c", "users")]);
        prop_oneof![
            6 => namespace().prop_map(|(db, coll)| doc! { "ns": { "db": db, "coll": coll } }),
            2 => (namespace(), unwatched.clone()).prop_map(|(from, to)| renamed(from, to)),
            2 => (unwatched, namespace()).prop_map(|(from, to)| renamed(from, to)),
            1 => Just(doc! { "ns": { "db": "b" } }),
            1 => Just(doc! { "operationType": "invalidate" }),
        ]
    }

    proptest! {
        #[test]
        fn a_parcels_slots_are_those_of_the_events(
            events in prop::collection::vec(event().prop_map(|event| raw(&event)), 0..40),
        ) {
            let router = router(&["a", "b"]);
            let mut changes = Changes::default();
            let mut slots = Slots::new(&router);
            let time = ClusterTime { seconds: 0, increment: 0 };
            for event in &events {
                let slot = slots.of(event, &mut changes);
                changes.push_of(slot, |_, _| Ok::<_, ()>(time)).unwrap();
            }
            let origins = changes.namespaces();
            for (at, origin) in origins.iter().enumerate() {
                prop_assert!(!origins[..at].contains(origin), "{origin} has two slots");
            }
            for (event, change) in events.iter().zip(changes.iter()) {
                prop_assert_eq!(&origins[change.namespace], &router.origin(event));
            }
        }
    }
}
