//! The stages that the server runs on a stream's events before it sends them.
//!
//! A stream over several collections has the server skip all others. How fast that is depends on the shape of the
//! filter. From 6.0 on, a server rewrites what it can of the first `$match` into a filter on the oplog, with a
//! regular expression for each name, and doesn't make events of entries that don't match. That is the fastest way for
//! a few names, and the slowest for many names and for patterns. For these the filter contains a condition that
//! can't be rewritten, so the server filters events instead. Seconds of CPU that mongod 6.0.5 takes to skip
//! 200,000 inserts of another collection:
//!
//! | names | rewritten | not rewritten |
//! |---|---|---|
//! | 1 | 0.8 | 1.4 |
//! | 20 | 1.0 | 1.4 |
//! | 100 | 1.8 | 1.4 |
//! | 500 | 5.6 | 1.3 |
//! | `orders_*` | 2.2 | 1.4 |
//! | one regular expression of 500 names | 88 | 1.4 |
//! | `ns` in 500 objects | 53 | |
//!
//! A stream of one collection takes 0.5. The condition on renames (`to`) has no measurable cost. Both shapes filter
//! before documents are looked up.

use bson::raw::cstr;
use bson::{Bson, Document, Regex, doc};

use super::StreamOptions;
use silt_core::namespace::selection::{Matcher, NameSet, Selection, TEMPORARY_COLLECTION, Watched};

/// The most names for which the rewritten filter is used.
const REWRITTEN_NAMES_MAX: usize = 50;

/// The event after which the server closes the stream. It passes every filter: without it, a stream that ended
/// for this reason would look like a fault.
const INVALIDATE: &str = "invalidate";

/// All stages, in their order.
pub(super) fn pipeline(options: &StreamOptions) -> Vec<Document> {
    let mut stages: Vec<Document> = match &options.watched {
        Watched::Collection(_) => Vec::new(),
        Watched::Many { selection, .. } => vec![doc! { "$match": scope(selection) }],
    };
    if !options.operation_types.is_empty() {
        let types = options.operation_types.iter().map(String::as_str);
        let types: Vec<&str> = types.chain([INVALIDATE]).collect();
        stages.push(doc! { "$match": { "operationType": { "$in": types } } });
    }
    stages.extend(options.pipeline.iter().map(passing_invalidates));
    stages
}

/// A stage of `PIPELINE`, changed so that invalidates pass.
fn passing_invalidates(stage: &Document) -> Document {
    match stage.get("$match") {
        Some(Bson::Document(condition)) if stage.len() == 1 => {
            doc! { "$match": { "$or": [condition.clone(), { "operationType": INVALIDATE }] } }
        }
        _ => stage.clone(),
    }
}

/// The filter for the events of these collections.
fn scope(selection: &Selection) -> Document {
    let scope = Scope::of(selection);
    let mut alternatives = vec![scope.of_namespace("ns"), scope.of_namespace("to")];
    // An event of a whole database has no collection.
    let mut nameless = scope.of_database("ns");
    if scope.is_worth_rewriting() {
        nameless.insert("operationType", "dropDatabase");
        alternatives.extend([nameless, doc! { "operationType": INVALIDATE }]);
    } else {
        // The server can't rewrite a condition on a missing field, so it rewrites nothing.
        nameless.insert("ns.coll", Bson::Null);
        alternatives.extend([nameless, doc! { "ns": Bson::Null }]);
    }
    doc! { "$or": alternatives }
}

/// The conditions of a stream's filter on namespaces.
struct Scope<'a> {
    /// The databases; `None` if the stream is of a single database.
    databases: Option<&'a NameSet>,
    collections: &'a NameSet,
    /// Collections that match but have their own stream.
    apart: Vec<(&'a str, &'a str)>,
}

impl<'a> Scope<'a> {
    fn of(selection: &'a Selection) -> Self {
        let is_meant = |(database, collection): &(&str, &str)| {
            selection.databases.matches(database) && selection.collections.matches(collection)
        };
        let apart = selection.apart.iter();
        let apart = apart.map(|(database, collection)| (database.as_str(), collection.as_str()));
        Self {
            databases: match selection.only_database() {
                Some(_) => None,
                None => Some(&selection.databases),
            },
            collections: &selection.collections,
            apart: apart.filter(is_meant).collect(),
        }
    }

    fn is_worth_rewriting(&self) -> bool {
        let sets = self.databases.into_iter().chain([self.collections]);
        let matchers: Vec<&Matcher> = sets
            .flat_map(|set| set.includes.iter().chain(&set.excludes))
            .collect();
        let is_name = |matcher: &&Matcher| matches!(matcher, Matcher::Name(_));
        matchers.iter().all(is_name) && matchers.len() + self.apart.len() <= REWRITTEN_NAMES_MAX
    }

    /// The condition on a namespace's database.
    fn of_database(&self, field: &str) -> Document {
        let databases = self.databases.map(condition).unwrap_or_default();
        if databases.is_empty() {
            return Document::new();
        }
        doc! { format!("{field}.db"): databases }
    }

    /// The condition on a namespace.
    fn of_namespace(&self, field: &str) -> Document {
        let mut namespace = self.of_database(field);
        let mut collections = condition(self.collections);
        if self.collections.names().is_none() {
            exclude(&mut collections, regex(TEMPORARY_COLLECTION));
        }
        if !collections.contains_key("$in") {
            // A missing name would match a list of exclusions.
            collections.insert("$type", "string");
        }
        namespace.insert(format!("{field}.coll"), collections);
        if !self.apart.is_empty() {
            let apart = self.apart.iter().map(|(database, collection)| {
                let mut apart = doc! { format!("{field}.coll"): *collection };
                if self.databases.is_some() {
                    apart.insert(format!("{field}.db"), *database);
                }
                apart
            });
            namespace.insert("$nor", apart.collect::<Vec<_>>());
        }
        namespace
    }
}

/// The condition on the names of a set; empty if it has all names.
fn condition(set: &NameSet) -> Document {
    let values =
        |matchers: &[Matcher]| -> Vec<Bson> { matchers.iter().filter_map(value).collect() };
    let mut condition = Document::new();
    if !set.includes.iter().any(is_everything) {
        condition.insert("$in", values(&set.includes));
    }
    if !set.excludes.is_empty() {
        condition.insert("$nin", values(&set.excludes));
    }
    condition
}

/// Adds a value to the exclusions of a condition.
fn exclude(condition: &mut Document, value: Option<Bson>) {
    let excluded = condition.entry("$nin".to_owned());
    let excluded = excluded.or_insert_with(|| Bson::Array(Vec::new()));
    if let Bson::Array(excluded) = excluded {
        excluded.extend(value);
    }
}

fn is_everything(matcher: &Matcher) -> bool {
    matches!(matcher, Matcher::Pattern { written, .. } if written == "*")
}

fn value(matcher: &Matcher) -> Option<Bson> {
    match matcher {
        Matcher::Name(name) => Some(name.as_str().into()),
        // A BSON pattern can't contain NUL.
        Matcher::Pattern { regex, .. } => self::regex(&regex.as_str().replace('\0', "\\x00")),
    }
}

fn regex(pattern: &str) -> Option<Bson> {
    let pattern = pattern.try_into().ok()?;
    let options = cstr!("").into();
    Some(Bson::RegularExpression(Regex { pattern, options }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::stream::plain;
    use silt_core::namespace::{Layout, Namespace};

    fn pattern(written: &str, regex: &str) -> Matcher {
        Matcher::Pattern {
            written: written.to_owned(),
            regex: regex::Regex::new(regex).unwrap(),
        }
    }

    fn selection(databases: NameSet, collections: NameSet, apart: &[(&str, &str)]) -> Selection {
        let apart = apart
            .iter()
            .map(|(database, name)| ((*database).to_owned(), (*name).to_owned()));
        Selection {
            databases,
            collections,
            apart: apart.collect(),
        }
    }

    fn everything() -> NameSet {
        NameSet {
            includes: vec![pattern("*", "^.*$")],
            excludes: Vec::new(),
        }
    }

    fn regex(text: &str) -> Bson {
        super::regex(text).unwrap()
    }

    #[test]
    fn the_server_can_rewrite_the_filter_for_few_names() {
        let names = NameSet::of_names(&["users", "orders"]);
        let one = selection(NameSet::of_names(&["mydb"]), names.clone(), &[]);
        let coll = doc! { "$in": ["users", "orders"] };
        let expected = doc! { "$or": [
            { "ns.coll": &coll }, { "to.coll": &coll },
            { "operationType": "dropDatabase" }, { "operationType": "invalidate" },
        ] };
        assert_eq!(scope(&one), expected);
        let two = selection(
            NameSet::of_names(&["a", "b"]),
            names,
            &[("a", "users"), ("c", "users")],
        );
        let db = doc! { "$in": ["a", "b"] };
        let expected = doc! { "$or": [
            { "ns.db": &db, "ns.coll": &coll, "$nor": [{ "ns.coll": "users", "ns.db": "a" }] },
            { "to.db": &db, "to.coll": &coll, "$nor": [{ "to.coll": "users", "to.db": "a" }] },
            { "ns.db": &db, "operationType": "dropDatabase" }, { "operationType": "invalidate" },
        ] };
        assert_eq!(scope(&two), expected);
    }

    #[test]
    fn the_server_cannot_rewrite_the_filter_for_patterns_and_many_names() {
        let collections = NameSet {
            includes: vec![
                pattern("orders_*", "^orders_.*$"),
                Matcher::Name("users".to_owned()),
            ],
            excludes: vec![pattern("*_tmp", "^.*_tmp$")],
        };
        let coll = doc! { "$in": [regex("^orders_.*$"), "users"], "$nin": [regex("^.*_tmp$"), regex(TEMPORARY_COLLECTION)] };
        let expected = doc! { "$or": [
            { "ns.coll": &coll }, { "to.coll": &coll }, { "ns.coll": Bson::Null }, { "ns": Bson::Null },
        ] };
        let patterns = selection(NameSet::of_names(&["mydb"]), collections, &[]);
        assert_eq!(scope(&patterns), expected);
        let names: Vec<String> = (0..=REWRITTEN_NAMES_MAX).map(|n| n.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let of = |names| selection(NameSet::of_names(&["mydb"]), NameSet::of_names(names), &[]);
        for (names, is_rewritten) in [(&names[..], false), (&names[1..], true)] {
            let scope = scope(&of(names));
            let last = scope.get_array("$or").unwrap().last().unwrap();
            assert_eq!(
                last != &Bson::Document(doc! { "ns": Bson::Null }),
                is_rewritten
            );
        }
    }

    #[test]
    fn all_names_need_no_filter_except_for_temporary_collections_and_those_with_their_own_stream() {
        let coll = doc! { "$nin": [regex(TEMPORARY_COLLECTION)], "$type": "string" };
        let nameless = [doc! { "ns.coll": Bson::Null }, doc! { "ns": Bson::Null }];
        for databases in [NameSet::of_names(&["mydb"]), everything()] {
            let expected = doc! { "$or": [
                { "ns.coll": &coll }, { "to.coll": &coll }, &nameless[0], &nameless[1],
            ] };
            assert_eq!(scope(&selection(databases, everything(), &[])), expected);
        }
        let but_one = selection(everything(), everything(), &[("mydb", "users")]);
        let expected = doc! { "$or": [
            { "ns.coll": &coll, "$nor": [{ "ns.coll": "users", "ns.db": "mydb" }] },
            { "to.coll": &coll, "$nor": [{ "to.coll": "users", "to.db": "mydb" }] },
            &nameless[0], &nameless[1],
        ] };
        assert_eq!(scope(&but_one), expected);
    }

    #[test]
    fn stages_come_in_order_and_let_invalidates_pass() {
        let mut options = plain(Watched::Collection(Namespace::new("mydb", "users")));
        assert_eq!(pipeline(&options), Vec::<Document>::new());
        options.watched = Watched::Many {
            selection: selection(NameSet::of_names(&["mydb"]), NameSet::of_names(&["a"]), &[]),
            layout: Layout::Collection,
        };
        options.operation_types = vec!["insert".to_owned()];
        let unset = doc! { "$unset": "fullDocument.secret" };
        options.pipeline = vec![doc! { "$match": { "fullDocument.a": 1 } }, unset.clone()];
        let stages = pipeline(&options);
        assert!(
            stages[0]
                .get_document("$match")
                .unwrap()
                .contains_key("$or")
        );
        assert_eq!(
            stages[1..],
            [
                doc! { "$match": { "operationType": { "$in": ["insert", "invalidate"] } } },
                doc! { "$match": { "$or": [
                    { "fullDocument.a": 1 }, { "operationType": "invalidate" },
                ] } },
                unset,
            ]
        );
    }
}
