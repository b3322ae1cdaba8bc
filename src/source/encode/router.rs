//! Finds the collection of each event of a stream over several collections.

use std::collections::HashMap;

use bson::RawDocument;

use silt_core::batch::Changes;
use silt_core::namespace::selection::{Selection, Watched};
use silt_core::namespace::{Layout, Namespace};

/// Database and collection.
type Name<'a> = (&'a str, &'a str);

/// Finds the collection of an event.
#[derive(Debug)]
pub(in crate::source) struct Router {
    selection: Selection,
    layout: Layout,
    /// The stream's database, if it has only one.
    database: String,
}

/// Where the events of a stream belong.
#[derive(Debug)]
pub(in crate::source) enum Routing {
    /// All of them to one collection.
    Only(Namespace),
    /// Each to its own.
    PerEvent(Router),
}

impl Routing {
    pub(in crate::source) fn of(watched: &Watched) -> Self {
        match watched {
            Watched::Collection(namespace) => Self::Only(namespace.clone()),
            Watched::Many { selection, layout } => {
                Self::PerEvent(Router::new(selection.clone(), *layout))
            }
        }
    }

    /// The slots of a parcel; `None` if it has only one, the first, which is added.
    pub(in crate::source) fn slots(&self, changes: &mut Changes) -> Option<Slots<'_>> {
        match self {
            Self::Only(namespace) => {
                changes.add_namespace(namespace.clone());
                None
            }
            Self::PerEvent(router) => Some(Slots::new(router)),
        }
    }
}

impl Router {
    /// The router of a stream over several collections.
    pub(in crate::source) fn new(selection: Selection, layout: Layout) -> Self {
        Self {
            database: selection.only_database().unwrap_or_default().to_owned(),
            selection,
            layout,
        }
    }

    /// The namespace of an event, and a second one if it is a rename between two watched collections. An event of
    /// a whole database has no collection.
    fn namespaces<'a>(&'a self, event: &'a RawDocument) -> (Name<'a>, Option<Name<'a>>) {
        let named = |field| {
            let named = event.get_document(field).ok();
            named.map(|named| self.names(named))
        };
        let old = named("ns").unwrap_or((&self.database, ""));
        let new = named("to").filter(|_| is_rename(event));
        let is_watched = |(database, collection)| self.selection.matches(database, collection);
        match new {
            Some(new) if !is_watched(old) => (new, None),
            Some(new) => (old, Some(new).filter(|new| *new != old && is_watched(*new))),
            None => (old, None),
        }
    }

    /// An event's collection; the old name of a rename, if it is watched.
    pub(in crate::source) fn origin(&self, event: &RawDocument) -> Namespace {
        let ((database, collection), _) = self.namespaces(event);
        Namespace::with_layout(database, collection, self.layout)
    }

    fn names<'a>(&'a self, namespace: &'a RawDocument) -> Name<'a> {
        let database = namespace.get_str("db").unwrap_or(&self.database);
        (database, namespace.get_str("coll").unwrap_or_default())
    }
}

/// Finds each event's slot: the index of its collection among the origins of one parcel's changes.
#[derive(Debug)]
pub(in crate::source) struct Slots<'a> {
    router: &'a Router,
    known: HashMap<Name<'a>, usize>,
    /// The namespace of the last event, and its slot: changes of one collection often come together.
    last: Option<(Name<'a>, usize)>,
}

impl<'a> Slots<'a> {
    pub(in crate::source) fn new(router: &'a Router) -> Self {
        Self {
            router,
            known: HashMap::new(),
            last: None,
        }
    }

    /// The slots of an event's collections, which are added if they are new. A rename between two watched
    /// collections has two.
    pub(in crate::source) fn of(
        &mut self,
        event: &'a RawDocument,
        changes: &mut Changes,
    ) -> (usize, Option<usize>) {
        let namespace = event.get_document("ns").map(|ns| self.router.names(ns));
        // Every known name is watched, except that of a whole database.
        if let Ok(namespace) = namespace
            && !is_rename(event)
        {
            if let Some((last, slot)) = self.last
                && last == namespace
            {
                return (slot, None);
            }
            if let Some(slot) = self.known.get(&namespace) {
                self.last = Some((namespace, *slot));
                return (*slot, None);
            }
        }
        let (first, second) = self.router.namespaces(event);
        let first = self.slot(first, changes);
        (first, second.map(|second| self.slot(second, changes)))
    }

    fn slot(&mut self, namespace: Name<'a>, changes: &mut Changes) -> usize {
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

fn is_rename(event: &RawDocument) -> bool {
    matches!(event.get_str("operationType"), Ok("rename"))
}

#[cfg(test)]
mod tests {
    use bson::{Document, RawDocumentBuf, doc};
    use proptest::prelude::*;

    use super::*;
    use silt_core::namespace::selection::NameSet;
    use silt_core::position::ClusterTime;

    fn router(databases: &[&str]) -> Router {
        let selection = Selection {
            databases: NameSet::of_names(databases),
            collections: NameSet::of_names(&["users", "orders"]),
            apart: vec![("b".to_owned(), "orders".to_owned())],
        };
        Router::new(selection, Layout::DatabaseAndCollection)
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
    fn events_belong_to_their_namespace_and_renames_to_the_watched_ones() {
        let router = router(&["a", "b"]);
        for (event, origin, second) in [
            (
                doc! { "ns": { "db": "a", "coll": "users" } },
                "a.users",
                None,
            ),
            (
                doc! { "ns": { "db": "b" }, "operationType": "dropDatabase" },
                "b",
                None,
            ),
            (
                renamed(("a", "users"), ("a", "orders")),
                "a.users",
                Some("a.orders"),
            ),
            (renamed(("a", "users"), ("a", "old")), "a.users", None),
            (renamed(("a", "new"), ("a", "orders")), "a.orders", None),
            (
                renamed(("a", "tmp.agg_out.1"), ("a", "orders")),
                "a.orders",
                None,
            ),
            (renamed(("b", "orders"), ("b", "users")), "b.users", None),
        ] {
            let event = raw(&event);
            assert_eq!(router.origin(&event).to_string(), origin, "{event:?}");
            assert_eq!(router.origin(&event).layout, Layout::DatabaseAndCollection);
            let (_, found) = router.namespaces(&event);
            let found = found.map(|(database, collection)| format!("{database}.{collection}"));
            assert_eq!(found.as_deref(), second, "{event:?}");
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
            2 => (namespace(), namespace()).prop_map(|(from, to)| renamed(from, to)),
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
            let mut expected = Vec::new();
            for event in &events {
                let (slot, second) = slots.of(event, &mut changes);
                for slot in std::iter::once(slot).chain(second) {
                    changes.push_of(slot, |_, _| Ok::<_, ()>(time)).unwrap();
                }
                let (first, second) = router.namespaces(event);
                expected.extend(std::iter::once(first).chain(second));
            }
            let origins = changes.namespaces();
            for (at, origin) in origins.iter().enumerate() {
                prop_assert!(!origins[..at].contains(origin), "{origin} has two slots");
            }
            prop_assert_eq!(changes.len(), expected.len());
            for ((database, collection), change) in expected.into_iter().zip(changes.iter()) {
                let expected = Namespace::with_layout(database, collection, router.layout);
                prop_assert_eq!(&origins[change.namespace], &expected);
            }
        }
    }
}
