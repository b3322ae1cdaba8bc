//! Sums of what was seen.

use std::collections::{BTreeMap, BTreeSet};

use super::look::{GapSeen, HourSeen, Seen};
use crate::archive::gap;
use crate::archive::hour_file::Hour;
use crate::archive::names;
use crate::archive::position::ClusterTime;
use crate::lake::Unread;

/// What ext4 keeps for itself at the root of a mount.
const LOST_AND_FOUND: &str = "lost+found";

/// What the lake holds.
#[derive(Debug)]
pub(super) struct Tally {
    pub collections: BTreeMap<String, Sum>,
    /// Files that aren't silt's.
    pub others: u64,
    /// Files that are damaged, and how.
    pub damaged: Vec<(String, String)>,
    /// Folders that may not be read.
    pub unread: Vec<Unread>,
    keeps_files: bool,
}

/// What it holds of a collection.
#[derive(Debug, Default)]
pub(super) struct Sum {
    pub database: Option<String>,
    pub hours: BTreeSet<Hour>,
    pub files: u64,
    /// `None` if a file doesn't say.
    pub changes: Option<u64>,
    pub len_bytes: u64,
    pub first: Option<ClusterTime>,
    pub last: Option<ClusterTime>,
    pub gaps: Vec<GapSeen>,
    /// In order, if they are kept.
    pub all_files: BTreeMap<(Hour, u32, String), HourSeen>,
    /// Whether the collection was asked for by name.
    pub is_named: bool,
}

impl Tally {
    pub(super) fn new(keeps_files: bool) -> Self {
        Self {
            collections: BTreeMap::new(),
            others: 0,
            damaged: Vec::new(),
            unread: Vec::new(),
            keeps_files,
        }
    }

    /// A collection that was asked for is shown although nothing of it may be found.
    pub(super) fn expect(&mut self, collection: &str) {
        self.sum(collection).is_named = true;
    }

    fn sum(&mut self, collection: &str) -> &mut Sum {
        self.collections
            .entry(collection.to_owned())
            .or_insert_with(|| Sum {
                changes: Some(0),
                ..Sum::default()
            })
    }

    pub(super) fn add(&mut self, seen: Seen) {
        match seen {
            Seen::Hour(file) => {
                let keeps_files = self.keeps_files;
                self.sum(&file.collection.clone()).add(file, keeps_files);
            }
            Seen::Gap(gap) => {
                let gaps = &mut self.sum(&gap.collection.clone()).gaps;
                gaps.push(gap);
                gaps.sort_by(|one, other| one.file.cmp(&other.file));
            }
            Seen::Damaged { path, why } => {
                self.damaged.push((path, why));
                self.damaged.sort();
            }
            Seen::Other => self.others += 1,
            Seen::Own | Seen::Gone => {}
        }
    }

    /// Nothing is damaged, and what was asked for is there and could be read.
    pub(super) fn is_good(&self) -> bool {
        let mut sums = self.collections.values();
        let mut unread = self.unread.iter();
        self.damaged.is_empty()
            && !sums.any(Sum::is_missing)
            && !unread.any(|unread| may_hold_changes(&unread.folder))
    }

    /// All collections together.
    pub(super) fn total(&self) -> Sum {
        let mut total = Sum {
            changes: Some(0),
            ..Sum::default()
        };
        for sum in self.collections.values() {
            total.files += sum.files;
            total.len_bytes += sum.len_bytes;
            total.changes = add(total.changes, sum.changes);
            total.widen(sum.first, sum.last);
            total.hours.extend(&sum.hours);
            total.gaps.extend(sum.gaps.iter().cloned());
        }
        total
    }
}

impl Sum {
    fn add(&mut self, file: HourSeen, keeps_file: bool) {
        self.database = self.database.take().or(file.database.clone());
        self.hours.insert(file.name.hour);
        self.files += 1;
        self.changes = add(self.changes, file.changes);
        self.len_bytes += file.len_bytes;
        self.widen(file.first, Some(file.last));
        if keeps_file {
            let (hour, part) = file.name.age_key();
            self.all_files
                .insert((hour, part, file.name.to_string()), file);
        }
    }

    fn widen(&mut self, first: Option<ClusterTime>, last: Option<ClusterTime>) {
        self.first = self.first.into_iter().chain(first).min();
        self.last = self.last.max(last);
    }

    /// Asked for, and not there.
    pub(super) fn is_missing(&self) -> bool {
        self.is_named && self.files == 0 && self.gaps.is_empty()
    }
}

/// Whether a folder may be one of a collection, by its path.
fn may_hold_changes(folder: &str) -> bool {
    let (first, deeper) = match folder.split_once('/') {
        Some((first, deeper)) => (first, Some(deeper)),
        None => (folder, None),
    };
    first != LOST_AND_FOUND
        && first != names::OWN_FOLDER
        && names::decode(first).is_some()
        && deeper.is_none_or(|deeper| deeper == gap::FOLDER)
}

fn add(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    Some(one? + other?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_hold_changes_must_be_readable() {
        for (folder, may) in [
            ("users", true),
            ("users/_gaps", true),
            ("users/notes", false),
            ("a%2Fb", true),
            ("%zz", false),
            ("_silt", false),
            ("lost+found", false),
        ] {
            let mut tally = Tally::new(false);
            let folder = folder.to_owned();
            tally.unread.push(Unread {
                folder: folder.clone(),
                reason: String::new(),
            });
            assert_eq!(!tally.is_good(), may, "{folder}");
        }
    }
}
