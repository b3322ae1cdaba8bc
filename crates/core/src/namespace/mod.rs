//! Databases and collections: their names, their folders, and which of them are watched.

pub mod names;
pub mod selection;

use std::fmt;

/// How the lake's folders are laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Layout {
    /// `<collection>/`, if one database is watched.
    #[default]
    Collection,
    /// `<database>/<collection>/`, if several are.
    DatabaseAndCollection,
}

/// A database and a collection, with the layout of the lake.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace {
    /// The database.
    pub database: String,
    /// The collection. Empty for events that concern the whole database.
    pub collection: String,
    /// How the lake's folders are laid out.
    pub layout: Layout,
}

impl Namespace {
    /// A collection of the only database that is watched.
    #[must_use]
    pub fn new(database: &str, collection: &str) -> Self {
        Self::with_layout(database, collection, Layout::Collection)
    }

    /// A collection in a lake with this layout.
    #[must_use]
    pub fn with_layout(database: &str, collection: &str, layout: Layout) -> Self {
        Self {
            database: database.to_owned(),
            collection: collection.to_owned(),
            layout,
        }
    }

    /// Its name in reports: the collection, preceded by its database if several are watched.
    #[must_use]
    pub fn name(&self) -> String {
        match self.layout {
            Layout::Collection if !self.collection.is_empty() => self.collection.clone(),
            _ => self.to_string(),
        }
    }

    /// Its folder below the lake's root.
    #[must_use]
    pub fn folder(&self) -> String {
        let collection = if self.collection.is_empty() {
            names::DATABASE_FOLDER.to_owned()
        } else {
            names::encode(&self.collection)
        };
        self.below_database(collection)
    }

    /// Its folder as versions of silt named it that didn't shorten long names. `None` if it is the same. Only a
    /// lake in Azure could hold it.
    #[must_use]
    pub fn former_folder(&self) -> Option<String> {
        let collection = names::former(&self.collection, names::COMPONENT_MAX_BYTES)?;
        Some(self.below_database(collection))
    }

    fn below_database(&self, collection: String) -> String {
        match self.layout {
            Layout::Collection => collection,
            // Events that concern no database in particular.
            Layout::DatabaseAndCollection if self.database.is_empty() => collection,
            Layout::DatabaseAndCollection => {
                format!("{}/{collection}", names::encode(&self.database))
            }
        }
    }
}

impl fmt::Display for Namespace {
    /// `database.collection`, or the database alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.database)?;
        if !self.collection.is_empty() {
            write!(f, ".{}", self.collection)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_follow_the_layout_and_never_meet() {
        let folder = |database, collection, layout| {
            Namespace::with_layout(database, collection, layout).folder()
        };
        let (flat, deep) = (Layout::Collection, Layout::DatabaseAndCollection);
        assert_eq!(folder("mydb", "users", flat), "users");
        assert_eq!(folder("mydb", "a/b", deep), "mydb/a%2Fb");
        assert_eq!(folder("mydb", "", flat), "_database");
        assert_eq!(folder("mydb", "_database", flat), "%5Fdatabase");
        assert_eq!(folder("_silt", "x", deep), "%5Fsilt/x");
        assert_eq!(folder("", "", deep), "_database");
    }

    /// Azure's names have at most 1,024 characters, and silt's folder may be below a prefix.
    #[test]
    fn the_longest_path_leaves_room_for_a_prefix() {
        let deep = Layout::DatabaseAndCollection;
        for collection in ["/".repeat(191), "x".repeat(191), "é".repeat(95)] {
            let folder = Namespace::with_layout(&"%".repeat(63), &collection, deep).folder();
            let file = "snapshot-2024-01-15-14-15-23/part-4294967295.ndjson.gz";
            assert!(format!("{folder}/{file}").len() <= 512, "{folder}");
        }
    }

    #[test]
    fn a_folder_that_silt_named_before_it_shortened_names_is_known() {
        let deep = Layout::DatabaseAndCollection;
        let name = "/".repeat(100);
        let former = Namespace::with_layout("a%", &name, deep).former_folder();
        assert_eq!(former, Some(format!("a%25/{}", "%2F".repeat(100))));
        assert_eq!(Namespace::new("mydb", "users").former_folder(), None);
    }

    #[test]
    fn people_read_it_as_a_namespace() {
        assert_eq!(Namespace::new("mydb", "a.b").to_string(), "mydb.a.b");
        assert_eq!(Namespace::new("mydb", "").to_string(), "mydb");
    }
}
