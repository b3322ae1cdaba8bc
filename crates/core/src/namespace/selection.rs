//! Which databases and collections are watched: names, patterns, and exceptions from them.

use std::fmt;
use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::namespace::names;
use crate::namespace::{Layout, Namespace};

/// Whether a database is the server's own. Patterns never match it.
#[must_use]
pub fn is_servers_database(name: &str) -> bool {
    matches!(name, "admin" | "config" | "local")
}

/// Regular expression for the collections that a server makes for the duration of a command, in the syntax that the
/// server (PCRE) and silt share: those of `$out`, of a rename between databases, and of `convertToCapped`. The
/// server fills them, then renames them to their target.
pub const TEMPORARY_COLLECTION: &str =
    r"^tmp(\.agg_out\.|[0-9A-Za-z]{5}\.(renameCollection$|convertToCapped\.))";

#[allow(
    clippy::expect_used,
    reason = "the pattern is a constant, which a test compiles"
)]
static TEMPORARY: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(TEMPORARY_COLLECTION).expect("a valid pattern"));

/// Whether a collection is the server's own or one of its temporary ones. Patterns never match it.
#[must_use]
pub fn is_servers_collection(name: &str) -> bool {
    name.starts_with("system.") || name.starts_with("tmp") && TEMPORARY.is_match(name)
}

/// One entry of a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(into = "Written", try_from = "Written")]
pub enum Matcher {
    /// This name and no other.
    Name(String),
    /// All names that match an anchored regular expression.
    Pattern {
        /// As it was configured: `orders_*`, `/regex/`, `*`.
        written: String,
        /// The same as a regular expression, anchored at both ends, in the syntax that the server (PCRE) and the
        /// `regex` crate read alike.
        regex: Regex,
    },
}

impl Matcher {
    /// Whether it matches a name.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Name(own) => own == name,
            Self::Pattern { regex, .. } => regex.is_match(name),
        }
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        Written::from(self.clone()) == Written::from(other.clone())
    }
}

impl Eq for Matcher {}

/// The form of a [`Matcher`] in a checkpoint, where a name is a plain string.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Name(String),
    Pattern { written: String, regex: String },
}

impl From<Matcher> for Written {
    fn from(matcher: Matcher) -> Self {
        match matcher {
            Matcher::Name(name) => Self::Name(name),
            Matcher::Pattern { written, regex } => Self::Pattern {
                written,
                regex: regex.as_str().to_owned(),
            },
        }
    }
}

impl TryFrom<Written> for Matcher {
    type Error = regex::Error;

    fn try_from(written: Written) -> Result<Self, regex::Error> {
        Ok(match written {
            Written::Name(name) => Self::Name(name),
            Written::Pattern { written, regex } => Self::Pattern {
                written,
                regex: Regex::new(&regex)?,
            },
        })
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Pattern { written, .. } => f.write_str(written),
        }
    }
}

/// A list of names and patterns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameSet {
    /// Names that match, unless `excludes` matches them.
    pub includes: Vec<Matcher>,
    /// Exceptions, such as `!*_tmp`.
    pub excludes: Vec<Matcher>,
}

impl NameSet {
    /// These names and no others.
    #[must_use]
    pub fn of_names(names: &[&str]) -> Self {
        let name = |name: &&str| Matcher::Name((*name).to_owned());
        Self {
            includes: names.iter().map(name).collect(),
            excludes: Vec::new(),
        }
    }

    /// Whether it matches a name.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let any_matches = |list: &[Matcher]| list.iter().any(|matcher| matcher.matches(name));
        any_matches(&self.includes) && !any_matches(&self.excludes)
    }

    /// The included names that are no patterns.
    pub fn literal_names(&self) -> impl Iterator<Item = &str> {
        self.includes.iter().filter_map(|matcher| match matcher {
            Matcher::Name(name) => Some(name.as_str()),
            Matcher::Pattern { .. } => None,
        })
    }

    /// The names, if there are no patterns and no exceptions.
    #[must_use]
    pub fn names(&self) -> Option<Vec<&str>> {
        if !self.excludes.is_empty() {
            return None;
        }
        let names = self.includes.iter().map(|matcher| match matcher {
            Matcher::Name(name) => Some(name.as_str()),
            Matcher::Pattern { .. } => None,
        });
        names.collect()
    }
}

impl fmt::Display for NameSet {
    /// As it would be configured: `orders_*,!*_tmp`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let includes = self.includes.iter().map(|matcher| ("", matcher));
        let excludes = self.excludes.iter().map(|matcher| ("!", matcher));
        for (at, (sign, matcher)) in includes.chain(excludes).enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{sign}{matcher}")?;
        }
        Ok(())
    }
}

/// The collections that one shared stream carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// The databases.
    pub databases: NameSet,
    /// The collections, in each of them.
    pub collections: NameSet,
    /// Collections that have a stream of their own: database and name.
    pub apart: Vec<(String, String)>,
}

impl Selection {
    /// Whether the stream carries a collection.
    #[must_use]
    pub fn matches(&self, database: &str, collection: &str) -> bool {
        if is_servers_database(database) || is_servers_collection(collection) {
            return false;
        }
        let is_apart = || {
            self.apart
                .iter()
                .any(|(own_database, own)| own_database == database && own == collection)
        };
        self.databases.matches(database) && self.collections.matches(collection) && !is_apart()
    }

    /// Whether a folder with a shortened name may be that of a collection which the stream carries. Patterns can't
    /// tell without the name.
    fn may_match_shortened(&self, database: &str, folder: &str) -> bool {
        let Self {
            databases,
            collections,
            apart,
        } = self;
        let is_it = |name: &str| names::encode(name) == folder;
        let is_matched = |matcher: &Matcher| match matcher {
            Matcher::Name(name) => is_it(name),
            Matcher::Pattern { .. } => true,
        };
        let is_excluded = |matcher: &Matcher| match matcher {
            Matcher::Name(name) => is_it(name),
            Matcher::Pattern { .. } => false,
        };
        let is_apart =
            |(own_database, own): &(String, String)| own_database == database && is_it(own);
        names::is_shortened(folder)
            && !is_servers_database(database)
            && databases.matches(database)
            && collections.includes.iter().any(is_matched)
            && !collections.excludes.iter().any(is_excluded)
            && !apart.iter().any(is_apart)
    }

    /// The only database, if exactly one is named. Otherwise the stream is opened on the whole deployment.
    #[must_use]
    pub fn only_database(&self) -> Option<&str> {
        match self.databases.names()?.as_slice() {
            [name] => Some(name),
            _ => None,
        }
    }
}

/// What a feed watches.
#[derive(Clone, Debug)]
pub enum Watched {
    /// One collection, by a stream of its own.
    Collection(Namespace),
    /// Several collections, by one stream.
    Many {
        /// Which collections.
        selection: Selection,
        /// How their folders are laid out.
        layout: Layout,
    },
}

impl Watched {
    /// Whether the feed carries a collection of this name in any database, or would if it existed.
    #[must_use]
    pub fn carries(&self, collection: &str) -> bool {
        match self {
            Self::Collection(namespace) => namespace.collection == collection,
            Self::Many { selection, .. } => match selection.databases.names() {
                Some(databases) => databases
                    .iter()
                    .any(|database| selection.matches(database, collection)),
                // A collection with a stream of its own in one database may not have one in another.
                None => {
                    !is_servers_collection(collection) && selection.collections.matches(collection)
                }
            },
        }
    }

    /// Whether this is the folder of a collection that the feed carries, or would if it existed.
    #[must_use]
    pub fn carries_folder(&self, folder: &str) -> bool {
        let (selection, layout) = match self {
            Self::Collection(namespace) => return namespace.folder() == folder,
            Self::Many { selection, layout } => (selection, layout),
        };
        let of = |database: Option<&str>, collection: &str| {
            database.is_some_and(|database| {
                if collection == names::DATABASE_FOLDER {
                    return selection.databases.matches(database);
                }
                match names::decode(collection) {
                    Some(name) => selection.matches(database, &name),
                    None => selection.may_match_shortened(database, collection),
                }
            })
        };
        match (layout, folder.split_once('/')) {
            (Layout::Collection, None) => of(selection.only_database(), folder),
            (Layout::DatabaseAndCollection, Some((database, collection))) => {
                of(names::decode(database).as_deref(), collection)
            }
            _ => false,
        }
    }

    /// The collection that this feed carries and whose folder this is. `None` as well if the folder's name is
    /// shortened: it doesn't tell the collection's.
    #[must_use]
    pub fn namespace_of_folder(&self, folder: &str) -> Option<Namespace> {
        if !self.carries_folder(folder) {
            return None;
        }
        let (selection, layout) = match self {
            Self::Collection(namespace) => return Some(namespace.clone()),
            Self::Many { selection, layout } => (selection, *layout),
        };
        let (database, collection) = match folder.split_once('/') {
            Some((database, collection)) => (names::decode(database)?, collection),
            None => (selection.only_database()?.to_owned(), folder),
        };
        let collection = match collection {
            names::DATABASE_FOLDER => String::new(),
            collection => names::decode(collection)?,
        };
        Some(Namespace::with_layout(&database, &collection, layout))
    }

    /// The selection of a feed with a shared stream.
    #[must_use]
    pub fn selection(&self) -> Option<&Selection> {
        match self {
            Self::Collection(_) => None,
            Self::Many { selection, .. } => Some(selection),
        }
    }

    /// How the folders of its collections are laid out.
    #[must_use]
    pub fn layout(&self) -> Layout {
        match self {
            Self::Collection(namespace) => namespace.layout,
            Self::Many { layout, .. } => *layout,
        }
    }

    /// The namespace of events that can't be attributed to a collection: the only collection, or the whole
    /// database, or none.
    #[must_use]
    pub fn enclosing_namespace(&self) -> Namespace {
        match self {
            Self::Collection(namespace) => namespace.clone(),
            Self::Many { selection, layout } => {
                Namespace::with_layout(selection.only_database().unwrap_or(""), "", *layout)
            }
        }
    }

    /// The name of a feed in lists: its collection, or its selection.
    #[must_use]
    pub fn namespace(&self) -> Namespace {
        match self {
            Self::Collection(namespace) => namespace.clone(),
            Self::Many { selection, layout } => {
                let database = selection.databases.to_string();
                Namespace::with_layout(&database, &selection.collections.to_string(), *layout)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> NameSet {
        NameSet {
            includes: vec![Matcher::Pattern {
                written: "*".to_owned(),
                regex: Regex::new("^(?s:.*)$").unwrap(),
            }],
            excludes: Vec::new(),
        }
    }

    #[test]
    fn patterns_never_match_the_servers_own() {
        let selection = Selection {
            databases: all(),
            collections: all(),
            apart: vec![("shop".to_owned(), "users".to_owned())],
        };
        for (database, collection, is_matched) in [
            ("shop", "orders", true),
            ("crm", "users", true),
            ("shop", "users", false),
            ("shop", "system.views", false),
            ("shop", "systems", true),
            (
                "shop",
                "tmp.agg_out.8b0d5b0c-9f3c-4c33-8f2b-9f1d6c0e0c11",
                false,
            ),
            ("shop", "tmpa1B2c.renameCollection", false),
            ("shop", "tmpa1B2c.convertToCapped.users", false),
            ("shop", "tmp", true),
            ("shop", "tmp.agg_outs", true),
            ("shop", "tmp-a1b2.renameCollection", true),
            ("shop", "tmpa1B2c.renameCollections", true),
            ("shop", "mytmp.agg_out.1", true),
            ("admin", "x", false),
            ("config", "x", false),
            ("local", "x", false),
        ] {
            let matches = selection.matches(database, collection);
            assert_eq!(matches, is_matched, "{database}.{collection}");
        }
    }

    #[test]
    fn a_name_is_carried_if_it_is_in_any_database() {
        for (databases, is_carried) in [
            (NameSet::of_names(&["shop"]), false),
            (NameSet::of_names(&["shop", "crm"]), true),
            (all(), true),
        ] {
            let watched = Watched::Many {
                selection: Selection {
                    databases,
                    collections: all(),
                    apart: vec![("shop".to_owned(), "users".to_owned())],
                },
                layout: Layout::DatabaseAndCollection,
            };
            assert!(watched.carries("orders"));
            assert!(!watched.carries("system.views"));
            assert_eq!(watched.carries("users"), is_carried, "{watched:?}");
        }
    }

    #[test]
    fn a_folder_belongs_to_the_feed_of_its_collection() {
        let watched = |databases: &[&str], layout| Watched::Many {
            selection: Selection {
                databases: NameSet::of_names(databases),
                collections: all(),
                apart: vec![("shop".to_owned(), "users".to_owned())],
            },
            layout,
        };
        let one = watched(&["shop"], Layout::Collection);
        let several = watched(&["shop", "crm"], Layout::DatabaseAndCollection);
        for (folder, of_one, of_several) in [
            ("orders", true, false),
            ("a%2Fb", true, false),
            ("users", false, false),
            ("_database", true, false),
            ("_silt/checkpoints", false, false),
            ("shop/orders", false, true),
            ("shop/users", false, false),
            ("crm/users", false, true),
            ("other/users", false, false),
            ("crm/users/_gaps", false, false),
        ] {
            assert_eq!(one.carries_folder(folder), of_one, "{folder}");
            assert_eq!(several.carries_folder(folder), of_several, "{folder}");
        }
    }

    #[test]
    fn a_shortened_folder_may_be_the_feeds_unless_its_name_is_known_to_be_another() {
        let [long, other] = ["a", "b"].map(|end| "/".repeat(100) + end);
        let folder = names::encode(&long);
        let named = |names: &[&str]| NameSet::of_names(names);
        let all_but = |name: &str| NameSet {
            excludes: vec![Matcher::Name(name.to_owned())],
            ..all()
        };
        for (collections, apart, is_carried) in [
            (all(), "users", true),
            (all(), &long, false),
            (all_but(&long), "users", false),
            (all_but(&other), "users", true),
            (named(&["users", &long]), "users", true),
            (named(&["users", &other]), "users", false),
        ] {
            let watched = Watched::Many {
                selection: Selection {
                    databases: named(&["shop"]),
                    collections,
                    apart: vec![("shop".to_owned(), apart.to_owned())],
                },
                layout: Layout::Collection,
            };
            assert_eq!(watched.carries_folder(&folder), is_carried, "{watched:?}");
            assert!(!watched.carries_folder("%zz"));
        }
    }

    #[test]
    fn a_single_named_database_is_the_only_one() {
        let of = |databases| Selection {
            databases,
            collections: all(),
            apart: Vec::new(),
        };
        assert_eq!(of(NameSet::of_names(&["a"])).only_database(), Some("a"));
        assert_eq!(of(NameSet::of_names(&["a", "b"])).only_database(), None);
        assert_eq!(of(all()).only_database(), None);
    }
}
