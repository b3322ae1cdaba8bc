//! Sums of what was seen.

use std::collections::{BTreeMap, BTreeSet};

use super::look::{GapSeen, HourSeen, Seen};
use super::snapshots::Snapshot;
use super::subject::{Whose, may_hold_changes};
use crate::lake::UnreadableFolder;
use silt_core::file::hour_file::Hour;
use silt_core::position::ClusterTime;
use silt_core::snapshot::folder::FolderName;

/// What the lake holds.
#[derive(Debug)]
pub(super) struct Tally {
    pub collections: BTreeMap<Whose, Sum>,
    /// Files that aren't silt's.
    pub others: u64,
    /// Files that are damaged, and how.
    pub damaged: Vec<(String, String)>,
    /// Folders that may not be read.
    pub unread: Vec<UnreadableFolder>,
    keeps_files: bool,
}

/// What it holds of a collection.
#[derive(Debug, Default)]
pub(super) struct Sum {
    pub database: Option<String>,
    pub hours: BTreeSet<Hour>,
    /// Hours that are closed.
    pub closed: BTreeSet<Hour>,
    /// Before this time every change is in a closed hour, or on record as missing.
    pub complete_until: Option<ClusterTime>,
    pub files: u64,
    /// `None` if a file doesn't say.
    pub changes: Option<u64>,
    pub len_bytes: u64,
    pub first: Option<ClusterTime>,
    pub last: Option<ClusterTime>,
    pub gaps: Vec<GapSeen>,
    pub snapshots: BTreeMap<FolderName, Snapshot>,
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
        self.sum(&Whose::collection(collection)).is_named = true;
    }

    fn sum(&mut self, whose: &Whose) -> &mut Sum {
        self.collections
            .entry(whose.clone())
            .or_insert_with(|| Sum {
                changes: Some(0),
                ..Sum::default()
            })
    }

    pub(super) fn add(&mut self, seen: Seen) {
        match seen {
            Seen::Hour(file) => {
                let keeps_files = self.keeps_files;
                self.sum(&file.whose.clone()).add(file, keeps_files);
            }
            Seen::Gap(gap) => {
                let gaps = &mut self.sum(&gap.whose).gaps;
                gaps.push(gap);
                gaps.sort_by(|one, other| one.file.cmp(&other.file));
            }
            Seen::Closed(whose, hour) => {
                self.sum(&whose).closed.insert(hour);
            }
            Seen::Complete(whose, until) => self.sum(&whose).complete_until = Some(until),
            Seen::Snapshot(seen) => {
                let snapshots = &mut self.sum(&seen.whose).snapshots;
                snapshots.entry(seen.folder).or_default().add(seen.file);
            }
            Seen::Damaged { path, why } => {
                self.damaged.push((path, why));
                self.damaged.sort();
            }
            Seen::Unreadable(folder) => self.unread.push(folder),
            Seen::Other => self.others += 1,
            Seen::Own | Seen::Gone => {}
        }
    }

    /// All files were added. A name that was asked for may be that of a database, or of a collection with
    /// its database; and a snapshot must be what its manifest says.
    pub(super) fn close(&mut self) {
        let found: BTreeSet<String> = self
            .collections
            .iter()
            .filter(|(_, sum)| !sum.is_empty())
            .flat_map(|(whose, _)| [Some(whose.to_string()), whose.database.clone()])
            .flatten()
            .collect();
        self.collections
            .retain(|whose, sum| !sum.is_empty() || !found.contains(&whose.to_string()));
        for (whose, sum) in &self.collections {
            let untrue = sum.snapshots.iter();
            let untrue = untrue.filter_map(|(folder, snapshot)| {
                let why = snapshot.fault()?;
                Some((format!("{whose}/{folder}"), why.to_owned()))
            });
            self.damaged.extend(untrue);
        }
        self.damaged.sort();
    }

    /// Nothing is damaged, and what was asked for is there and could be read.
    pub(super) fn is_good(&self) -> bool {
        let mut sums = self.collections.values();
        let mut unread = self.unread.iter();
        let by_database = self
            .collections
            .keys()
            .any(|whose| whose.database.is_some());
        self.damaged.is_empty()
            && !sums.any(Sum::is_missing)
            && !unread.any(|unread| may_hold_changes(&unread.folder, by_database))
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
            total.closed.extend(&sum.closed);
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

    fn is_empty(&self) -> bool {
        self.files == 0
            && self.gaps.is_empty()
            && self.snapshots.is_empty()
            && self.complete_until.is_none()
    }

    /// Asked for, and not there.
    pub(super) fn is_missing(&self) -> bool {
        self.is_named && self.is_empty()
    }
}

fn add(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    Some(one? + other?)
}
