//! What is watched: databases, collections, and in how many streams.

mod common_regex;
pub(in crate::settings) mod namespaces;
pub(in crate::settings) mod patterns;

use std::collections::BTreeSet;

use crate::settings::CheckpointSettings;
use crate::settings::problems::{Fault, shown};
use crate::settings::table;
use crate::settings::table::choices::Streams;
use crate::settings::values::Values;
use crate::settings::watched::namespaces::{check_namespace, parse_collections, parse_databases};
use silt_core::namespace::selection::{NameSet, Selection, Watched};
use silt_core::namespace::{Layout, Namespace};

/// What is watched.
#[derive(Clone, Debug)]
pub(in crate::settings) struct Scope {
    pub(in crate::settings) databases: NameSet,
    pub(in crate::settings) collections: NameSet,
    pub(in crate::settings) layout: Layout,
    streams: Streams,
}

impl Scope {
    /// Reads it. `None` only if problems were noted.
    pub(in crate::settings) fn read(values: &mut Values) -> Option<Self> {
        let databases = values.parse_list(&table::MONGODB_DATABASE, parse_databases);
        let collections = values.parse_list(&table::MONGODB_COLLECTIONS, parse_collections);
        let streams = streams(values, databases.as_ref(), collections.as_ref());
        let collections = collections?;
        values.parse(&table::MONGODB_COLLECTIONS, |_| {
            check_namespaces(databases.as_ref(), &collections)
        })?;
        let databases = databases?;
        warn_of_odd_names(values, &databases, &collections);
        let is_one = databases.names().is_some_and(|names| names.len() == 1);
        Some(Self {
            layout: if is_one {
                Layout::Collection
            } else {
                Layout::DatabaseAndCollection
            },
            databases,
            collections,
            streams: streams?,
        })
    }

    /// Whether a collection is watched by name, not by a pattern.
    pub(in crate::settings) fn names(&self, database: &str, collection: &str) -> bool {
        let mut names = self.collections.literal_names();
        self.matches(database, collection) && names.any(|name| name == collection)
    }

    /// Whether a collection is watched.
    pub(in crate::settings) fn matches(&self, database: &str, collection: &str) -> bool {
        self.selection(Vec::new()).matches(database, collection)
    }

    /// What each feed watches: first the shared one, if any, then those of single collections.
    /// Collections in `apart` have streams of their own. Patterns never match the checkpoints.
    pub(in crate::settings) fn feeds(
        &self,
        apart: &[Namespace],
        checkpoints: &CheckpointSettings,
    ) -> Vec<Watched> {
        if self.streams == Streams::PerCollection {
            return self
                .namespaces()
                .into_iter()
                .map(Watched::Collection)
                .collect();
        }
        let mut excluded: Vec<_> = apart.iter().map(namespace_names).collect();
        if let CheckpointSettings::MongoDb {
            database,
            collection,
        } = checkpoints
            && self.matches(database, collection)
            && !self.names(database, collection)
        {
            excluded.push((database.clone(), collection.clone()));
        }
        let is_apart = |namespace: &Namespace| excluded.contains(&namespace_names(namespace));
        // If every named collection has its own stream, none is left to share.
        let is_needed = !self.is_named() || !self.namespaces().iter().all(is_apart);
        let shared = Watched::Many {
            selection: self.selection(excluded),
            layout: self.layout,
        };
        let apart = apart.iter().cloned().map(Watched::Collection);
        is_needed
            .then_some(shared)
            .into_iter()
            .chain(apart)
            .collect()
    }

    /// Whether a watched collection may have this name, with its database or without.
    pub(in crate::settings) fn has(&self, key: &str) -> bool {
        !self.meant(key).is_empty()
    }

    /// The collection that a section is for: `users`, or `shop.users`.
    pub(in crate::settings) fn find(
        &self,
        key: &str,
        checkpoints: Option<&CheckpointSettings>,
    ) -> Result<Namespace, Fault> {
        let meant = self.meant(key);
        let mut all = meant.iter();
        match (all.next(), all.next()) {
            (Some((database, collection)), None) => {
                if checkpoints.is_some_and(|store| holds(store, database, collection)) {
                    let what = "silt keeps its checkpoints there, which patterns never match";
                    return Err(Fault::with_fix(what, "remove the section"));
                }
                Ok(self.origin(database, collection))
            }
            (Some((database, collection)), Some(_)) => {
                let what = "several collections have this name";
                let fix =
                    format!("name the database too: [collections.\"{database}.{collection}\"]");
                Err(Fault::with_fix(what, fix))
            }
            (None, _) => {
                let mut fix =
                    "name one that MONGODB_DATABASE and MONGODB_COLLECTIONS watch".to_owned();
                if self.databases.names().is_none() && self.collections.matches(key) {
                    fix = format!(
                        "name its database too: [collections.\"DATABASE.{}\"]",
                        shown(key)
                    );
                }
                Err(Fault::with_fix("no watched collection has this name", fix))
            }
        }
    }

    /// The collections that a section's name may stand for: with its database, by name, or else by a pattern.
    fn meant<'a>(&'a self, key: &'a str) -> BTreeSet<(&'a str, &'a str)> {
        let is_watched = |(database, name): &(&str, &str)| self.matches(database, name);
        let is_named = |(database, name): &(&str, &str)| self.names(database, name);
        let databases = self.databases.literal_names();
        let alone: Vec<_> = databases.map(|database| (database, key)).collect();
        // Names of databases contain no dot.
        let with_database = key.split_once('.').filter(is_watched);
        let named = alone.iter().copied().filter(is_named);
        let mut meant: BTreeSet<_> = with_database.into_iter().chain(named).collect();
        if meant.is_empty() {
            meant.extend(alone.into_iter().filter(is_watched));
        }
        meant
    }

    fn origin(&self, database: &str, collection: &str) -> Namespace {
        Namespace::with_layout(database, collection, self.layout)
    }

    fn is_named(&self) -> bool {
        self.databases.names().is_some() && self.collections.names().is_some()
    }

    /// All collections, where they are named.
    fn namespaces(&self) -> Vec<Namespace> {
        let databases = self.databases.names().unwrap_or_default();
        let collections = self.collections.names().unwrap_or_default();
        let of = |database| {
            let collections = collections.iter();
            collections.map(move |collection| self.origin(database, collection))
        };
        databases.into_iter().flat_map(of).collect()
    }

    fn selection(&self, apart: Vec<(String, String)>) -> Selection {
        Selection {
            databases: self.databases.clone(),
            collections: self.collections.clone(),
            apart,
        }
    }
}

/// Names that MongoDB accepts, but that most likely stand for something else.
fn warn_of_odd_names(values: &mut Values, databases: &NameSet, collections: &NameSet) {
    let setting = table::MONGODB_COLLECTIONS.name;
    for name in collections.literal_names() {
        let without_database = databases
            .literal_names()
            .find_map(|database| name.strip_prefix(database)?.strip_prefix('.'));
        let meant = if name.contains([';', '[', ']', '"', '{', '}']) {
            let is_separator = |c: char| matches!(c, ';' | '[' | ']' | '"' | '{' | '}');
            let parts = name.split(is_separator).map(str::trim);
            let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
            format!("names are separated by commas: {}", parts.join(","))
        } else if let Some(collection) = without_database {
            format!("collections are named without their database: {collection}")
        } else {
            continue;
        };
        let name = shown(name);
        values.warn(format!(
            "{setting}: `{name}` is taken as the name of one collection; did you mean something else? {meant}"
        ));
    }
}

fn holds(store: &CheckpointSettings, database: &str, collection: &str) -> bool {
    match store {
        CheckpointSettings::MongoDb {
            database: own_database,
            collection: own,
        } => own_database == database && own == collection,
        CheckpointSettings::Lake => false,
    }
}

fn namespace_names(namespace: &Namespace) -> (String, String) {
    (namespace.database.clone(), namespace.collection.clone())
}

/// One stream for each collection, or one for all.
fn streams(
    values: &mut Values,
    databases: Option<&NameSet>,
    collections: Option<&NameSet>,
) -> Option<Streams> {
    let setting = &table::STREAMS;
    let asked = match values.text(setting) {
        Some(_) => Some(values.choice(setting)?),
        None => None,
    };
    let lists = [
        (&table::MONGODB_DATABASE, databases),
        (&table::MONGODB_COLLECTIONS, collections),
    ];
    let is_pattern =
        |(_, list): &(_, Option<&NameSet>)| list.is_some_and(|list| list.names().is_none());
    let pattern = lists.into_iter().find(is_pattern);
    match (asked, pattern) {
        (Some(Streams::PerCollection), Some((list, _))) => {
            let name = list.name;
            let what =
                format!("the patterns in {name} also match collections that don't exist yet");
            let fix = format!("set {}=shared, or only names in {name}", setting.name);
            values.refuse(setting, Fault::with_fix(what, fix));
            None
        }
        (Some(asked), _) => Some(asked),
        (None, Some(_)) => Some(Streams::Shared),
        (None, None) => Some(Streams::PerCollection),
    }
}

/// Refuses a collection whose name is too long together with that of any database.
fn check_namespaces(databases: Option<&NameSet>, collections: &NameSet) -> Result<(), Fault> {
    let databases = databases.into_iter().flat_map(NameSet::literal_names);
    let longest = databases.max_by_key(|name| name.len());
    let mut names = collections.literal_names();
    names.try_for_each(|name| check_namespace(longest.unwrap_or_default(), name))
}
