//! What is watched: databases, collections, and how many streams that takes.

use super::CheckpointSettings;
use super::choices::Streams;
use super::namespaces::{check_namespace, parse_collections, parse_databases};
use super::problems::Fault;
use super::table;
use super::values::Values;
use crate::archive::origin::{Layout, Origin};
use crate::archive::selection::{Matcher, NameSet, Selection, Watched};

/// What is watched.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    pub(super) databases: NameSet,
    pub(super) collections: NameSet,
    pub(super) layout: Layout,
    streams: Streams,
}

impl Scope {
    /// Reads it. `None` only if problems were noted.
    pub(super) fn read(values: &mut Values) -> Option<Self> {
        let databases = values.parse_list(&table::MONGODB_DATABASE, parse_databases);
        let collections = values.parse_list(&table::MONGODB_COLLECTIONS, parse_collections);
        let streams = streams(values, databases.as_ref(), collections.as_ref());
        let collections = collections?;
        values.parse(&table::MONGODB_COLLECTIONS, |_| {
            check_namespaces(databases.as_ref(), &collections)
        })?;
        let databases = databases?;
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

    /// Whether a collection is watched because it is named.
    pub(super) fn names(&self, database: &str, collection: &str) -> bool {
        let is_named =
            |include: &Matcher| matches!(include, Matcher::Name(name) if name == collection);
        self.matches(database, collection) && self.collections.includes.iter().any(is_named)
    }

    /// Whether a collection is watched.
    pub(super) fn matches(&self, database: &str, collection: &str) -> bool {
        self.selection(Vec::new()).matches(database, collection)
    }

    /// What each feed watches: first the shared one, if there is one, then those of a collection each.
    /// `apart` has a stream of its own. A pattern doesn't mean the checkpoints.
    pub(super) fn feeds(
        &self,
        mut apart: Vec<Origin>,
        checkpoints: &CheckpointSettings,
    ) -> Vec<Watched> {
        if self.streams == Streams::PerCollection {
            return self
                .origins()
                .into_iter()
                .map(Watched::Collection)
                .collect();
        }
        let mut passed_over: Vec<_> = apart.iter().map(namespace).collect();
        if let CheckpointSettings::MongoDb {
            database,
            collection,
        } = checkpoints
            && self.matches(database, collection)
        {
            passed_over.push((database.clone(), collection.clone()));
        }
        let is_apart = |origin: &Origin| passed_over.contains(&namespace(origin));
        // Where all that is named stands apart, nothing is left to share.
        let is_needed = !self.is_named() || !self.origins().iter().all(is_apart);
        let shared = Watched::Many {
            selection: self.selection(passed_over),
            layout: self.layout,
        };
        let apart = apart.drain(..).map(Watched::Collection);
        is_needed
            .then_some(shared)
            .into_iter()
            .chain(apart)
            .collect()
    }

    fn origin(&self, database: &str, collection: &str) -> Origin {
        Origin::laid_out(database, collection, self.layout)
    }

    fn is_named(&self) -> bool {
        self.databases.names().is_some() && self.collections.names().is_some()
    }

    /// All collections, where they are named.
    fn origins(&self) -> Vec<Origin> {
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

fn namespace(origin: &Origin) -> (String, String) {
    (origin.database.clone(), origin.collection.clone())
}

/// How many streams there are to be.
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
            let what = format!("it isn't known which collections the patterns of {name} will mean");
            let mend = format!("set {}=shared, or names alone in {name}", setting.name);
            values.refuse(setting, Fault::mended_by(what, mend));
            None
        }
        (Some(asked), _) => Some(asked),
        (None, Some(_)) => Some(Streams::Shared),
        (None, None) => Some(Streams::PerCollection),
    }
}

/// Says whether a collection's name is too long together with that of any database.
fn check_namespaces(databases: Option<&NameSet>, collections: &NameSet) -> Result<(), Fault> {
    let includes = databases.map_or(&[][..], |databases| &databases.includes);
    let names = |includes: &[Matcher]| -> Vec<String> {
        let includes = includes.iter();
        includes
            .filter_map(|include| match include {
                Matcher::Name(name) => Some(name.clone()),
                Matcher::Pattern { .. } => None,
            })
            .collect()
    };
    let longest = names(includes).into_iter().max_by_key(String::len);
    let database = longest.unwrap_or_default();
    let collections = names(&collections.includes);
    let mut collections = collections.iter();
    collections.try_for_each(|collection| check_namespace(&database, collection))
}
