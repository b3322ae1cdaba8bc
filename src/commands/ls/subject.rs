//! What a file is by its path.

use std::fmt;

use crate::lake::{FileInfo, LakePath};
use silt_core::closing;
use silt_core::file::hour_file::{Hour, HourFileName};
use silt_core::gap;
use silt_core::namespace::names;
use silt_core::snapshot::folder::{FolderName, MANIFEST, PLAN};
use silt_core::snapshot::part::PartName;

/// What a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// Changes of a collection.
    Hour(Whose, HourFileName),
    /// A record of a gap of a collection.
    Gap(Whose),
    /// What closing has written of a collection.
    Closing(Whose, OfClosing),
    /// Of a snapshot of a collection.
    Snapshot(Whose, FolderName, OfSnapshot),
    /// silt's own.
    Own,
}

impl Subject {
    /// Whose it is; `None` for silt's own.
    pub(super) fn whose_mut(&mut self) -> Option<&mut Whose> {
        match self {
            Self::Hour(whose, _)
            | Self::Gap(whose)
            | Self::Closing(whose, _)
            | Self::Snapshot(whose, _, _) => Some(whose),
            Self::Own => None,
        }
    }
}

/// A file of closing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OfClosing {
    Record(Hour),
    Latest,
}

/// A file of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OfSnapshot {
    Plan,
    Manifest,
    Part(PartName),
}

/// Whose a folder is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Whose {
    /// The database, where the folders are laid out by databases.
    pub database: Option<String>,
    /// The collection; empty for what happens to the database as a whole.
    pub collection: String,
    /// Its folder, if that has a shortened name, which stands in the collection's place until a file tells the
    /// true one.
    pub shortened: Option<String>,
}

impl Whose {
    /// A collection of a lake that is laid out by collections.
    pub(super) fn collection(name: &str) -> Self {
        Self {
            database: None,
            collection: name.to_owned(),
            shortened: None,
        }
    }

    /// Whose a folder of one or two levels is.
    fn of(folder: &str) -> Option<Self> {
        let (database, collection) = match folder.split_once('/') {
            Some((database, collection)) => (Some(database), collection),
            None => (None, folder),
        };
        let decoded = |name: &str| names::decode(name).filter(|name| !name.is_empty());
        Some(Self {
            database: match database {
                Some(database) => Some(decoded(database)?),
                None => None,
            },
            collection: match collection {
                names::DATABASE_FOLDER => String::new(),
                shortened if names::is_shortened(shortened) => shortened.to_owned(),
                collection => decoded(collection)?,
            },
            shortened: names::is_shortened(collection).then(|| folder.to_owned()),
        })
    }
}

impl fmt::Display for Whose {
    /// `users`, or `mydb.users`; `_database` or `mydb` for what happens to a database.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.database, self.collection.as_str()) {
            (None, "") => f.write_str(names::DATABASE_FOLDER),
            (None, collection) => f.write_str(collection),
            (Some(database), "") => f.write_str(database),
            (Some(database), collection) => write!(f, "{database}.{collection}"),
        }
    }
}

/// What it is, or `None` if it isn't silt's.
pub(super) fn subject(file: &FileInfo) -> Option<Subject> {
    let LakePath { folder, name } = &file.path;
    if folder.split('/').next() == Some(names::OWN_FOLDER) {
        return Some(Subject::Own);
    }
    // Closing records have names of hour files.
    if let Some((above, closing::FOLDER)) = folder.rsplit_once('/') {
        let of_closing = match name.as_str() {
            closing::LATEST => OfClosing::Latest,
            name => OfClosing::Record(closing::hour_of(name)?),
        };
        return Some(Subject::Closing(Whose::of(above)?, of_closing));
    }
    let is_deep = folder.split('/').count() > 2;
    if !is_deep && let Ok(hour) = name.parse() {
        return Some(Subject::Hour(Whose::of(folder)?, hour));
    }
    let (above, last) = folder.rsplit_once('/')?;
    let whose = Whose::of(above)?;
    if last == gap::FOLDER {
        name.strip_suffix(".json")?;
        return Some(Subject::Gap(whose));
    }
    let of_snapshot = match name.as_str() {
        name if PLAN.is(name) => OfSnapshot::Plan,
        name if MANIFEST.is(name) => OfSnapshot::Manifest,
        name => OfSnapshot::Part(name.parse().ok()?),
    };
    Some(Subject::Snapshot(
        whose,
        FolderName::parse(last)?,
        of_snapshot,
    ))
}

/// Whether a folder may be one of a collection, or in it, in a lake that is laid out by databases or not.
pub(super) fn may_hold_changes(folder: &str, by_database: bool) -> bool {
    if folder.split('/').next() == Some(names::OWN_FOLDER) {
        return false;
    }
    let is_within = |last: &str| {
        [gap::FOLDER, closing::FOLDER].contains(&last) || FolderName::parse(last).is_some()
    };
    match folder.rsplit_once('/') {
        Some((above, last)) if is_within(last) => Whose::of(above).is_some(),
        Some(_) => by_database && Whose::of(folder).is_some(),
        None => folder != LOST_AND_FOUND && Whose::of(folder).is_some(),
    }
}

/// What ext4 keeps for itself at the root of a mount.
const LOST_AND_FOUND: &str = "lost+found";

#[cfg(test)]
mod tests {
    use super::*;

    fn of(folder: &str, name: &str) -> Option<Subject> {
        let (folder, name) = (folder.to_owned(), name.to_owned());
        subject(&FileInfo {
            path: LakePath { folder, name },
            len_bytes: 1,
        })
    }

    fn deep(database: &str, collection: &str) -> Whose {
        Whose {
            database: Some(database.to_owned()),
            collection: collection.to_owned(),
            shortened: None,
        }
    }

    #[test]
    fn paths_tell_what_a_file_is() {
        let name = "2024-01-15-14.json";
        let hour = |whose| Some(Subject::Hour(whose, name.parse().unwrap()));
        assert_eq!(of("a%2Fb", name), hour(Whose::collection("a/b")));
        assert_eq!(of("mydb/users", name), hour(deep("mydb", "users")));
        assert_eq!(of("mydb/_database", name), hour(deep("mydb", "")));
        assert_eq!(of("_database", name), hour(Whose::collection("")));
        // A collection may have the name of a folder that is in one.
        assert_eq!(of("mydb/_gaps", name), hour(deep("mydb", "_gaps")));
        let gap = "2024-01-15-14-15-23.json";
        let users = Whose::collection("users");
        assert_eq!(of("users/_gaps", gap), Some(Subject::Gap(users.clone())));
        let gap = of("mydb/users/_gaps", gap);
        assert_eq!(gap, Some(Subject::Gap(deep("mydb", "users"))));
        let snapshot = FolderName::parse("snapshot-2024-01-15-14-15-23").unwrap();
        let part = "part-00001.ndjson.gz";
        for (name, expected) in [
            ("_plan.json", OfSnapshot::Plan),
            ("plan.json", OfSnapshot::Plan),
            ("_manifest.json", OfSnapshot::Manifest),
            ("manifest.json", OfSnapshot::Manifest),
            (part, OfSnapshot::Part(part.parse().unwrap())),
        ] {
            for whose in [users.clone(), deep("mydb", "users")] {
                let folder = format!("{}/{snapshot}", whose.to_string().replace('.', "/"));
                let expected = Subject::Snapshot(whose, snapshot, expected);
                assert_eq!(of(&folder, name), Some(expected));
            }
        }
        let own = of("_silt/checkpoints", "a.b.json");
        assert_eq!(own, Some(Subject::Own));
    }

    #[test]
    fn a_shortened_name_awaits_the_true_one() {
        let folder = names::encode(&"/".repeat(200));
        let of_path = |path: &str| Whose {
            collection: folder.clone(),
            shortened: Some(path.to_owned()),
            ..Whose::collection("")
        };
        let name = "2024-01-15-14.json";
        let hour = Subject::Hour(of_path(&folder), name.parse().unwrap());
        assert_eq!(of(&folder, name), Some(hour));
        let deep = format!("mydb/{folder}");
        let gap = Subject::Gap(Whose {
            database: Some("mydb".to_owned()),
            ..of_path(&deep)
        });
        assert_eq!(of(&format!("{deep}/_gaps"), "2024.json"), Some(gap));
        // A collection of that name has another folder.
        let odd = names::encode(&folder);
        let hour = Subject::Hour(Whose::collection(&folder), name.parse().unwrap());
        assert_eq!(of(&odd, name), Some(hour));
    }

    #[test]
    fn what_is_not_silts_is_known() {
        let name = "2024-01-15-14.json";
        for (folder, name) in [
            ("users", "notes.txt"),
            ("mydb/users/deeper", name),
            ("users/_gaps", "x.txt"),
            ("users/snapshot-2024", "plan.json"),
            ("users/_gaps/deeper", "x.json"),
            ("a/b/c/_gaps", "x.json"),
            ("%zz", name),
            ("a/%zz", name),
            ("", name),
            ("", "part-00001.json"),
        ] {
            assert_eq!(of(folder, name), None, "{folder}/{name}");
        }
    }

    #[test]
    fn what_may_hold_changes_must_be_readable() {
        for (folder, may) in [
            ("users", true),
            ("users/_gaps", true),
            ("users/snapshot-2024-01-15-14-15-23", true),
            ("users/notes", false),
            ("mydb/users/_gaps", true),
            ("a%2Fb", true),
            ("%zz", false),
            ("_silt", false),
            ("_silt/checkpoints", false),
            ("lost+found", false),
        ] {
            assert_eq!(may_hold_changes(folder, false), may, "{folder}");
            assert_eq!(
                may_hold_changes(folder, true),
                may || folder == "users/notes"
            );
        }
    }
}
